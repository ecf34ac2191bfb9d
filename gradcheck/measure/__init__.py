# SPDX-License-Identifier: Apache-2.0
"""The three gradients of an op at a site, each with its own error."""
