# SPDX-License-Identifier: Apache-2.0
"""Move a point to the place where a distance is zero, by Newton's steps on the distance alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gradcheck.numerics.arrays import Array

# Whether the point is where it is to be, how far it is from there, and the slopes of that distance.  The second
# argument says how deep inside counts as there.
Toward = Callable[[Array, float], tuple[bool, float, Array]]
Settle = Callable[[Array], Array]

# How deep inside is there at least: a rounding of float32 is no place.
NEAR = 1e-6
# Steps from one start: a smooth distance takes three to eight, a count of many numbers more; and how many of them may
# bring nothing.
STEPS, STALLED = 30, 4
# What a step must leave of the least distance by then to count.
LEFT = 0.99
# Every other step goes a little too far: a distance that bends would be halved for ever otherwise.
OVERSHOOT = 1.05
# How far a step may go, in units of the numbers at hand: the slope of an exponential sends it out of every range.
LONGEST = 10.0
# Factors of a step that changes no digit.
LONGER = tuple(4.0**power for power in range(13))
# How deep inside a point should lie, so that no difference looks across the border: the deepest that is found.
DEPTHS = (0.1, 0.01, 1e-3)
# Steps for each of them.
FURTHER_STEPS = 3
# The fineness of round numbers, which meet equalities exactly: eighths, tenths and whole ones.
ROUND = (8.0, 10.0, 1.0)


def reached(toward: Toward, start: Array, settle: Settle, depth: float = NEAR, steps: int = STEPS) -> Array | None:
    """Return a point at which the distance is zero, None if the steps from `start` do not come to one.

    `settle` puts a point where it may be: inside its bounds, and on numbers of its dtype.
    """
    x, least, stalled = settle(start), float("inf"), 0
    for number in range(steps):
        there, distance, slopes = toward(x, depth)
        if there:
            return x
        stalled = 0 if distance < LEFT * least else stalled + 1
        least = min(least, distance)
        if stalled >= STALLED:
            return None
        square = float(slopes @ slopes) if slopes.size else 0.0
        if not (np.isfinite(distance) and np.isfinite(square)) or square == 0 or distance == 0:
            return None
        step = -distance / square * (OVERSHOOT if number % 2 else 1.0) * slopes
        longest = LONGEST * (1.0 + np.abs(x).max(initial=0.0))
        x = _stepped(x, step * min(1.0, longest / max(np.abs(step).max(), longest)), settle)
    return None


def _stepped(x: Array, step: Array, settle: Settle) -> Array:
    """Return the point after a step, a longer one where the step is lost in the rounding of a number."""
    for factor in LONGER:
        moved = settle(x + factor * step)
        if not np.array_equal(moved, x):
            break
    return moved


def rounded(toward: Toward, start: Array, settle: Settle) -> Array | None:
    """Return the point on round numbers near `start`, None if it is not there either."""
    for fineness in ROUND:
        x = settle(np.round(start * fineness) / fineness)
        if toward(x, NEAR)[0]:
            return x
    return None


def deepened(toward: Toward, start: Array, settle: Settle) -> Array:
    """Return a point further inside, `start` itself if there is none."""
    for depth in DEPTHS:
        x = reached(toward, start, settle, depth, FURTHER_STEPS)
        if x is not None:
            return x
    return start
