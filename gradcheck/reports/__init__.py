# SPDX-License-Identifier: Apache-2.0
"""Reports format what was found; they compute nothing."""
