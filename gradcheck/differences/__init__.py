# SPDX-License-Identifier: Apache-2.0
"""Finite differences of a vector function: stencils, ladders, projections, and what they show about a gradient."""
