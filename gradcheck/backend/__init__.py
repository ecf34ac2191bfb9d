# SPDX-License-Identifier: Apache-2.0
"""What runs the op under check."""
