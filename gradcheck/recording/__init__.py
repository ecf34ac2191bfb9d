# SPDX-License-Identifier: Apache-2.0
"""Record the calls of custom gradients in the user's own program, and check them when it has ended."""
