# SPDX-License-Identifier: Apache-2.0
"""Find low precision hidden inside a function that takes float64."""

from __future__ import annotations

import numpy as np

from gradcheck.differences.vector_function import Point, evaluate_inside
from gradcheck.numerics.arrays import Array

EXPONENTS = (44, 40, 36, 32, 28, 24, 20, 16, 12, 10, 8, 6, 4)
LOW_EXPONENT = 28
# The least relative change at 2**-4 of which float64 would show a share of 2**-28.
SEEN_BY_FLOAT64 = 2.0**-20


def has_low_precision(point: Point, rng: np.random.Generator) -> bool:
    """Return whether the function rounds at float32 or coarser somewhere inside.

    Asked of all inputs together, then of each: what scales the output hides that another input is rounded.
    """
    size = point.x.size
    steps = rng.choice([-1.0, 1.0], size) * rng.uniform(0.5, 1.0, size) * point.sizes
    inputs = [] if point.groups is None else [point.groups == number for number in np.unique(point.groups)]
    return any(_rounds(point, np.where(moved, steps, 0.0)) for moved in (True, *inputs))


def _rounds(point: Point, steps: Array) -> bool:
    """Return whether the function rounds what changes by `steps`.

    A staircase (round, floor) also hides small changes, but moves nothing at all; so the
    answer is no where fewer than half of the outputs move at any of the fine steps up to 2**-12.
    """
    exponent = _visible_exponent(point, steps)
    if exponent is None or exponent > LOW_EXPONENT:
        return False
    return exponent >= 12 or _quantised(point)


def _visible_exponent(point: Point, steps: Array) -> int | None:
    """Return the largest k such that a relative change of 2**-k still moves most outputs.

    Outputs that hardly move at 2**-4 are left out; None if there are none that do.  A float64
    function gives about 44, float32 inside gives at most 28.
    """
    change = np.abs(_change(point, steps * 2.0 ** -EXPONENTS[-1]))
    reference = change > SEEN_BY_FLOAT64 * np.abs(point.y)
    if not reference.any():
        return None
    for exponent in EXPONENTS[:-1]:
        if (_change(point, steps * 2.0**-exponent)[reference] != 0).mean() >= 0.5:
            return exponent
    return EXPONENTS[-1]


def _change(point: Point, step: Array) -> Array:
    values = evaluate_inside(point, (point.x + step)[None])[0]
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(values), values - point.y, 0.0)


def _quantised(point: Point) -> bool:
    """Return whether outputs sit on a grid of about 8 or 11 bits relative to their size."""
    values = np.asarray(point.y[np.isfinite(point.y) & (point.y != 0)])
    if values.size < 2:
        return False
    mantissa, _ = np.frexp(values)
    scaled: Array = mantissa * 2.0**11
    whole_numbers = np.all(values == np.round(values))
    return bool(np.all(scaled == np.round(scaled)) and not whole_numbers)
