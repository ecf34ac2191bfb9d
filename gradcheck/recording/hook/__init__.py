# SPDX-License-Identifier: Apache-2.0
"""A folder for PYTHONPATH: every Python program that starts with it imports its `sitecustomize`."""
