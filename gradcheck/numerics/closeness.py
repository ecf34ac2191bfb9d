# SPDX-License-Identifier: Apache-2.0
"""How large an array is and whether two agree, in parts that stay in the cache."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.numerics.chunks import chunks_of


def wide(array: Any) -> Any:
    """Return an array as float64 or complex128."""
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64, copy=False)


def largest(array: Any, among: NDArray[np.bool_] | None = None) -> float:
    """Return the largest finite absolute value (among the elements given), 0 where there is none."""
    flat = np.ravel(array)
    chosen = None if among is None else np.ravel(among)
    most = 0.0
    for part in chunks_of(flat.size):
        size = np.abs(wide(flat[part]))
        usable = np.isfinite(size) if chosen is None else np.isfinite(size) & chosen[part]
        most = max(most, float(np.max(size, where=usable, initial=0.0)))
    return most


def close(found: Any, wanted: Any, rtol: float, atol: float = 0.0, finite_only: bool = False) -> bool:
    """Return whether |found - wanted| <= rtol |wanted| + atol at every element of two arrays of one shape.

    Both have to be finite at the same elements; with `finite_only` what is not is left out.
    """
    a, b = np.ravel(found), np.ravel(wanted)
    for part in chunks_of(b.size):
        x, y = wide(a[part]), wide(b[part])
        finite, too = np.isfinite(x), np.isfinite(y)
        if not finite_only and not np.array_equal(finite, too):
            return False
        with np.errstate(all="ignore"):
            near = np.abs(x - y) <= rtol * np.abs(y) + atol
        if not np.all(near | ~(finite & too)):
            return False
    return True


def worst_first(chosen: NDArray[np.bool_], found: Any, wanted: Any, most: int | None = None) -> NDArray[np.int64]:
    """Return the chosen places of two flat arrays, the largest error first; of equal ones the largest relative."""
    places = np.flatnonzero(chosen)
    x, y = found[places], wanted[places]
    with np.errstate(all="ignore"):
        error = np.nan_to_num(np.abs(x - y), nan=np.inf)
        size = np.where(y != 0, np.abs(y), np.abs(x))
        relative = np.nan_to_num(np.where(size > 0, error / size, 0.0), nan=np.inf)
    return np.asarray(places[np.lexsort((-relative, -error))][:most])
