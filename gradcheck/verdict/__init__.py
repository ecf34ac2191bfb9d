# SPDX-License-Identifier: Apache-2.0
"""Decide what a difference between gradients means: the one rounding model, the exemptions, the tolerances."""
