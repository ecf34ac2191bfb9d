# SPDX-License-Identifier: Apache-2.0
"""What is special about the wrong elements in inputs that are not differentiated: labels, masks, lengths, indices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from gradcheck.diagnose.regions import region_of
from gradcheck.numerics.arrays import AnyArray


def at_given(wrong: NDArray[np.bool_], given: Mapping[str, AnyArray]) -> tuple[str, str] | None:
    """Return what tells the wrong lines of an axis from the right ones in another input, and what to do about it.

    None where no input does.
    """
    for axis in range(wrong.ndim):
        lines = np.asarray(wrong.any(axis=tuple(i for i in range(wrong.ndim) if i != axis)))
        if lines.all():
            continue
        for name, values in given.items():
            found = next(_told(name, values, lines), None)
            if found is not None:
                return found
    return None


def _told(name: str, values: AnyArray, lines: NDArray[np.bool_]) -> Iterator[tuple[str, str]]:
    """Yield what an input says of the lines: the values that it has there, or how often it names them."""
    if values.shape == lines.shape and values.dtype.kind in "biuf":
        region = region_of(values.astype(np.float64), lines, ~lines)
        # The largest of a few numbers is anywhere; a sign is not, nor are two of either kind by chance.
        if region is not None and (region.endswith(" 0") or min(lines.sum(), (~lines).sum()) > 1):
            yield f"where `{name}` {region}", f"look at what grad_fn does where `{name}` {region}"
    if values.dtype.kind in "iu" and values.size and values.min() >= 0 and values.max() < lines.size:
        times = np.bincount(values.ravel(), minlength=lines.size)
        if np.array_equal(times > 1, lines):
            yield (
                f"which `{name}` names more than once",
                "add up what comes to the same index (tf.tensor_scatter_nd_add, tf.math.unsorted_segment_sum)",
            )
        elif np.array_equal(times == 0, lines):
            yield f"which `{name}` does not name", f"return zeros where `{name}` takes nothing from"
