# SPDX-License-Identifier: Apache-2.0
"""Follow a gradient from the sample to a far point at which it is wrong: which inputs matter, and how it goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from gradcheck.numerics.arrays import Array
from gradcheck.verdict.tolerances import (
    HALVINGS,
    NARROW,
    NEAR_ORDER,
    PATH_BUDGET,
    PROPORTIONAL_POWERS,
    SEEN,
    SEEN_CLEARLY,
    TURNS,
    UNSEEN,
    WILD,
)


def needed(wrong: Callable[[Array], bool], sample: Array, far: Array) -> NDArray[np.int64]:
    """Return few of the coordinates that `far` moves, which moved alone are `wrong` too (Zeller's ddmin, 2002)."""
    chosen = np.where(far != sample)[0]
    size, tries = chosen.size, 0
    while size > 1 and chosen.size > 1:
        size = -(-size // 2)
        start = 0
        while start < chosen.size and tries < PATH_BUDGET:
            fewer = np.delete(chosen, slice(start, start + size))
            tries += 1
            if fewer.size and wrong(moved(sample, far, fewer)):
                chosen = fewer
            else:
                start += size
    return chosen


def moved(sample: Array, far: Array, chosen: NDArray[np.int64]) -> Array:
    """Return the sample with some coordinates taken from the far point."""
    x = sample.copy()
    x[chosen] = far[chosen]
    return x


def onsets(gap: Callable[[Array], float], sample: Array, far: Array, unseen: float = UNSEEN) -> tuple[float, float]:
    """Return where on the way (0 to 1) the relative gap to the reference passes `unseen`, and where SEEN."""
    # Both searches look at the same places where the gap begins at once.
    known = cache(lambda share: gap(sample + share * (far - sample)))
    return _onset(known, unseen), _onset(known, SEEN)


def grows_slowly(first: float, last: float) -> bool:
    """Return whether a gap grows from rounding to plainly wrong over a long stretch of the way.

    So do an iteration that converges less and less and a series cut off; a wrong branch, a clip
    or a threshold starts at a place.
    """
    return last - first > NARROW * last


def fades(begin: Array, end: Array) -> bool:
    """Return whether the inputs change by much of what they are between two places.

    What goes wrong towards zero, and beyond, does so over a stretch that is short beside the whole way.
    """
    return bool(np.any(np.abs(end - begin) > NARROW * np.fmax(np.abs(begin), np.abs(end))))


def proportional(gap: Callable[[Array], float], sample: Array, far: Array) -> bool:
    """Return whether a gap grows like the distance from the sample, or its square, from the first steps on.

    So does a term that an input takes part in which is zero at the sample; an iteration loses nothing near by.
    """
    gaps = np.array([gap(sample + 2.0**-power * (far - sample)) for power in PROPORTIONAL_POWERS])
    if not np.all(np.isfinite(gaps)) or gaps.min() < SEEN_CLEARLY:
        return False
    orders = np.log2(gaps[:-1] / gaps[1:])
    return any(bool(np.all(np.abs(orders - order) < NEAR_ORDER)) for order in (1, 2))


def erratic(slopes: Array) -> bool:
    """Return whether slopes (n,) at neighbouring points go up and down at random, by much of what they are.

    So does an iteration that does not converge: each step doubles what parts two neighbours.
    """
    if not np.isfinite(slopes).all():
        return False
    changes = np.diff(slopes)
    large = np.abs(changes) > WILD * np.maximum(np.abs(slopes[1:]), np.abs(slopes[:-1]))
    turns = large[1:] & large[:-1] & (np.sign(changes[1:]) != np.sign(changes[:-1]))
    return int(turns.sum()) >= TURNS


def _onset(gap: Callable[[float], float], level: float) -> float:
    """Return where on the way (0 to 1) the gap passes a level."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if gap(middle) > level:
            high = middle
        else:
            low = middle
    return high
