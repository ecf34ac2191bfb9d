# SPDX-License-Identifier: Apache-2.0
"""The numbers that a verdict in exact arithmetic rests on."""

from __future__ import annotations

# Digits that have to agree, of 90: those that are lost are what cancels in the op.
EXACT_DIGITS = 40
# The same of a gradient of which only rounded numbers are known: float32 leaves four at least, after half are lost.
EXACT_DIGITS_OF_NUMBERS = 3
# Coordinates up to which each is a direction of its own, so that each has its own verdict.
EXACT_SINGLE = 24
# Random directions of a larger op, and the largest whole number among their entries.
EXACT_DIRECTIONS, EXACT_WEIGHTS = 2, 999
# How alike two ratios are that are one factor.
EXACT_RATIO = 1e-6
# How far a traced gradient and the one under test may be apart, of all terms: the constants of one may be rounded.
EXACT_SAME = 1e-5
# Differences (of all terms) below this are approximations that nobody sees: a loop that has converged.
EXACT_LEAST = 3e-8
# Draws of the inputs that are tried beside the sample, and sites on other sides of conditions.
EXACT_POINTS, EXACT_BRANCHES = 4, 8
