# SPDX-License-Identifier: Apache-2.0
"""Make an input at which a gradient is wrong small: few numbers that are not zero, round ones, few rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from gradcheck.measure.paths import moved, needed
from gradcheck.numerics.arrays import Array
from gradcheck.verdict.tolerances import SHRUNK_ALONE, SHRUNK_DIGITS, SHRUNK_NUMBERS


def shrunk(wrong: Callable[[Array], bool], x: Array, base: Array) -> Array:
    """Return a point that is `wrong` as x is, with few coordinates that are not those of `base`, and round ones."""
    chosen = needed(wrong, base, x)
    point = moved(base, x, chosen)
    if not wrong(point):
        return _with_round_numbers(wrong, x, np.flatnonzero(x != base))
    if chosen.size > 1:
        point = next((alone for alone in _in_one_number(point, base, chosen) if wrong(alone)), point)
    return _with_round_numbers(wrong, point, np.flatnonzero(point != base))


def _in_one_number(x: Array, base: Array, chosen: NDArray[np.int64]) -> Iterator[Array]:
    """Yield points with one coordinate that is as large as all of the others together: a sum, a norm, a largest."""
    largest = chosen[np.argsort(-np.abs(x[chosen]))][:SHRUNK_ALONE]
    for i in largest:
        for size in (x[chosen].sum(), float(np.linalg.norm(x[chosen])), 2 * x[i]):
            alone = base.copy()
            alone[i] = size
            yield alone


def _with_round_numbers(wrong: Callable[[Array], bool], x: Array, chosen: NDArray[np.int64]) -> Array:
    """Return the point with as few digits of the chosen numbers as will do: all at once, then one by one."""
    for digits in SHRUNK_DIGITS:
        point = x.copy()
        point[chosen] = np.round(x[chosen], digits)
        if wrong(point):
            x = point
            break
    for i in chosen[:SHRUNK_NUMBERS]:
        for digits in SHRUNK_DIGITS:
            point = x.copy()
            point[i] = np.round(x[i], digits)
            if point[i] == x[i] or wrong(point):
                x = point
                break
    return x
