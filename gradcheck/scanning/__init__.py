# SPDX-License-Identifier: Apache-2.0
"""Find the custom gradients of a source tree without importing it, and what covers each."""
