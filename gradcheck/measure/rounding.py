# SPDX-License-Identifier: Apache-2.0
"""What rounding in the op's own dtype may do to its gradient and its value at the sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.backend.tensorflow.faults import refusals
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.chunks import chunks_of
from gradcheck.spec.model import Case
from gradcheck.verdict.allowances import rounding_tolerance
from gradcheck.verdict.rounding import last_digits_moved
from gradcheck.verdict.tolerances import NOISE_DRAWS, ROUNDOFF

if TYPE_CHECKING:
    from gradcheck.measure.lab import Lab


@dataclass(frozen=True, slots=True)
class Rounding:
    """Hold the float64 gradient and value with what one rounding of the own dtype may do to them."""

    gradient: Array
    value: Array
    gradient_tolerance: Array
    value_tolerance: Array
    roundoff: float


def rounding_of(lab: Lab) -> Rounding:
    """Return how far gradient and value in the own dtype may be from those in float64."""
    op, point = lab.precision.op, lab.precision.point
    dtypes = [slot.dtype for slot in (*lab.slots, *lab.layout.outputs.slots)]
    unit = max(ROUNDOFF.get(dtype, ROUNDOFF["float32"]) for dtype in (*dtypes, lab.coarsest))
    gradient = lab.gradient
    rng = lab.rng("rounding")
    moved_gradient, moved_value = np.zeros(gradient.size), np.zeros(point.y.size)
    for _ in range(NOISE_DRAWS):
        there = point.clipped(last_digits_moved(point.x, unit, rng))
        if not op.wide:
            there = op.quantize(there[None])[0]
        # An op may refuse what is beside the sample: values at the edge of what it is for.
        with refusals():
            _widen(moved_gradient, op.gradient(there, last_digits_moved(point.cotangent, unit, rng)), gradient)
        _widen(moved_value, point.evaluate(there[None])[0], point.y)
        del there
    tolerances = rounding_tolerance(gradient, moved_gradient, unit), rounding_tolerance(point.y, moved_value, unit)
    if lab.case.rtol is not None or lab.case.atol is not None:
        _allow(lab.case, tolerances[0], gradient)
        _allow(lab.case, tolerances[1], point.y)
    return Rounding(gradient, point.y, *tolerances, unit)


def _allow(case: Case, tolerance: Array, exact: Array) -> None:
    """Raise a tolerance to what the user allows; what rounding explains stays allowed."""
    np.fmax(tolerance, (case.atol or 0.0) + (case.rtol or 0.0) * np.abs(exact), out=tolerance)


def _widen(moved: Array, there: Array, here: Array) -> None:
    """Raise `moved` to how far `there` is from `here`, part by part as it may be long."""
    with np.errstate(all="ignore"):
        for part in chunks_of(moved.size):
            np.fmax(moved[part], np.abs(there[part] - here[part]), out=moved[part])
