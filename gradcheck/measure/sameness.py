# SPDX-License-Identifier: Apache-2.0
"""Whether two runs of one op are the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck.backend.tensorflow.runs import Run
from gradcheck.measure.lab import Lab
from gradcheck.numerics.closeness import close, largest
from gradcheck.verdict.tolerances import REPEATED_FLOOR, REPEATED_ROUNDINGS, ROUNDOFF


def same_runs(lab: Lab, a: Run, b: Run, factor: float = REPEATED_ROUNDINGS) -> bool:
    """Return whether two runs give the same outputs and gradients, up to `factor` roundings."""
    if len(a.outputs) != len(b.outputs):
        return False
    pairs = [*zip(a.outputs, b.outputs, strict=True), *zip(a.gradients, b.gradients, strict=True)]
    if all(_identical(x, y) for x, y in pairs):
        return True
    # A gradient that is zero but for rounding has the size of what was summed.
    floor = max((largest(x) for x, _ in pairs if _numbers(x)), default=0.0)
    return all(close_arrays(x, y, lab, factor, floor) for x, y in pairs)


def _identical(x: Any, y: Any) -> bool:
    return x is not None and y is not None and np.asarray(x).dtype == np.asarray(y).dtype and np.array_equal(x, y)


def _numbers(x: Any) -> bool:
    return x is not None and np.asarray(x).dtype.kind not in "OSUbiu"


def close_arrays(x: Any, y: Any, lab: Lab, factor: float = REPEATED_ROUNDINGS, floor: float = 0.0) -> bool:
    """Return whether two outputs or gradients are the same up to `factor` roundings; None is the same as None."""
    if x is None or y is None:
        return x is None and y is None
    x, y = np.asarray(x), np.asarray(y)
    if x.shape != y.shape or x.dtype != y.dtype:
        return False
    if not _numbers(x):
        return bool(np.all(x == y))
    allowed = factor * ROUNDOFF.get(lab.coarsest, ROUNDOFF["float32"])
    return close(y, x, allowed, allowed * REPEATED_FLOOR * max(largest(x), REPEATED_FLOOR * floor))
