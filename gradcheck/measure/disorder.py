# SPDX-License-Identifier: Apache-2.0
"""Whether the slopes around a place follow no order, as those of an iteration that does not converge."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gradcheck.backend.tensorflow.faults import refused
from gradcheck.measure.paths import erratic
from gradcheck.numerics.arrays import Array
from gradcheck.verdict.tolerances import BESIDE_SHARES, DISORDER, HEAVY, SLOPES_BESIDE

if TYPE_CHECKING:
    from gradcheck.measure.lab import Lab


def in_disorder(lab: Lab, coordinate: int, x: Array, sample: Array, chosen: NDArray[np.int64]) -> bool:
    """Return whether the slopes around x follow no order and multiply a relative change, as chaos does.

    A plain wave looks random too at steps that are longer than it, but multiplies by little, and by about as much
    everywhere.
    """
    values = refused(lambda: lab.precision.op.value(x))
    if values is None:
        return False
    size = float(np.abs(lab.precision.point.cotangent * values).sum())
    reach = float(np.abs(x[chosen]).max(initial=0.0))
    narrow, wide = (share * np.abs(x[chosen]) for share in BESIDE_SHARES)
    # Near zero a share of the value is too little to see how the op goes on.
    for step in (narrow, wide, np.fmax(wide, BESIDE_SHARES[-1] * np.abs(sample[chosen]))):
        slopes = _slopes_around(lab, coordinate, x, chosen, step)
        middle, most = np.median(np.abs(slopes)), np.max(np.abs(slopes))
        if erratic(slopes) and (middle * reach > DISORDER * size or most > HEAVY * middle):
            return True
    return False


def _slopes_around(lab: Lab, coordinate: int, x: Array, chosen: NDArray[np.int64], step: Array) -> Array:
    """Return autodiff's slope of one coordinate at x and beside it, the chosen coordinates moved by steps."""
    slopes = []
    for number in SLOPES_BESIDE:
        beside = x.copy()
        beside[chosen] += number * step
        found = lab.autodiff(replace(lab.precision.point, x=lab.precision.point.clipped(beside)))
        slopes.append(np.nan if found is None else float(found[coordinate]))
    return np.array(slopes)
