# SPDX-License-Identifier: Apache-2.0
"""Find low precision hidden inside a function that takes float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradcheck.differences.vector_function import Point, evaluate_inside
from gradcheck.numerics.arrays import Array

EXPONENTS = (44, 40, 36, 32, 28, 24, 20, 16, 12, 10, 8, 6, 4)
LOW_EXPONENT = 28


def visible_exponent(point: Point, rng: np.random.Generator) -> int | None:
    """Return the largest k such that a relative change of 2**-k still moves most outputs.

    Outputs that do not move at 2**-4 are left out; None if there are none that do.  A float64
    function gives about 44, float32 inside gives at most 28.
    """
    size = point.x.size
    direction = rng.choice([-1.0, 1.0], size) * rng.uniform(0.5, 1.0, size)
    steps = direction * point.sizes
    reference = _moved(point, steps * 2.0 ** -EXPONENTS[-1])
    if not reference.any():
        return None
    for exponent in EXPONENTS[:-1]:
        if _moved(point, steps * 2.0**-exponent)[reference].mean() >= 0.5:
            return exponent
    return EXPONENTS[-1]


def _moved(point: Point, step: Array) -> NDArray[np.bool_]:
    values = evaluate_inside(point, (point.x + step)[None])[0]
    return np.asarray((values != point.y) & np.isfinite(values))


def has_low_precision(point: Point, rng: np.random.Generator) -> bool:
    """Return whether the function rounds at float32 or coarser somewhere inside.

    A staircase (round, floor) also hides small changes, but moves nothing at all; so the
    answer is no where fewer than half of the outputs move at any of the fine steps up to 2**-12.
    """
    exponent = visible_exponent(point, rng)
    if exponent is None or exponent > LOW_EXPONENT:
        return False
    return exponent >= 12 or _quantised(point, rng)


def _quantised(point: Point, rng: np.random.Generator) -> bool:
    """Return whether outputs sit on a grid of about 8 or 11 bits relative to their size."""
    values = np.asarray(point.y[np.isfinite(point.y) & (point.y != 0)])
    if values.size < 2:
        return False
    mantissa, _ = np.frexp(values)
    scaled: Array = mantissa * 2.0**11
    whole_numbers = np.all(values == np.round(values))
    return bool(np.all(scaled == np.round(scaled)) and not whole_numbers)
