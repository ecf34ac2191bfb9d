# SPDX-License-Identifier: Apache-2.0
"""Whether a gradient is wrong on one side of a condition of the forward, and right on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.masks import Mask, Masks
from gradcheck.diagnose.conditions import told
from gradcheck.diagnose.counterfactual import TWO_CHANGES
from gradcheck.diagnose.evidence import Diagnosis
from gradcheck.measure.dissected import gradient_and_autodiff, wide_forward
from gradcheck.measure.lab import Lab
from gradcheck.measure.measurement import Measurement
from gradcheck.measure.own_points import redrawn
from gradcheck.numerics.arrays import Array
from gradcheck.verdict.tolerances import CHANGED_LOW_RTOL, CHANGED_SCALE, SEPARATED, SIDES_DRAWS

# What is said of other rules or places where a condition of the forward may say it better.
_INDIRECT = ("unknown", "operand")


@dataclass(frozen=True, slots=True)
class _Look:
    """Hold where a gradient is wrong and where right at one point, and the conditions of the forward there."""

    wrong: NDArray[np.bool_]
    right: NDArray[np.bool_]
    masks: Sequence[Mask]


def with_side(lab: Lab, measurement: Measurement, diagnosis: Diagnosis) -> Diagnosis:
    """Return a diagnosis with the side of a condition on which alone the gradient is wrong, if there is one."""
    indirect = diagnosis.cause in _INDIRECT or TWO_CHANGES in diagnosis.message
    slot = measurement.slot
    if not indirect or measurement.by_user or lab.random or slot.complex or not (slot.plain and lab.may_repeat):
        return diagnosis
    looks = refused(lambda: _looks(lab, measurement))
    found = None if not looks else _side(looks)
    if found is None:
        return diagnosis
    mask, side = found
    where = told(mask.condition, side)
    return Diagnosis("region", f"wrong only where {where}", f"look at what grad_fn returns where {where}")


def _looks(lab: Lab, measurement: Measurement) -> list[_Look]:
    """Return the sample and further draws of all inputs."""
    masks, base = Masks(wide_forward(lab)), lab.precision.point
    points = [base.x, *(redrawn(lab, base.x, number) for number in range(SIDES_DRAWS))]
    looks = []
    for x in (x for x in points if x is not None):
        both = gradient_and_autodiff(lab, replace(base, x=x))
        if both is not None:
            shape = measurement.slot.shape
            wrong, alive = _judged(*both, measurement.part)
            looks.append(_Look(wrong.reshape(shape), (alive & ~wrong).reshape(shape), masks.at(x)))
    return looks


def _judged(gradient: Array, right: Array, part: slice) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return where a gradient differs from the right one by more than roundings, and where one of them is not zero."""
    gap, scale = np.abs(gradient - right), max(np.abs(gradient).max(), np.abs(right).max())
    tolerance = CHANGED_LOW_RTOL * gap[part].max(initial=0.0) + CHANGED_SCALE * scale
    return gap[part] > tolerance, (gradient[part] != 0) | (right[part] != 0)


def _side(looks: Sequence[_Look]) -> tuple[Mask, bool] | None:
    """Return the condition, and the side of it, that holds wherever the gradient is wrong and nowhere it is right."""
    for number, mask in enumerate(looks[0].masks):
        for side in (True, False):
            counts = [c for look in looks if (c := _counts(look, look.masks[number].holds == side)) is not None]
            if len(counts) == len(looks) and np.sum(counts, axis=0).min() >= SEPARATED:
                return mask, side
    return None


def _counts(look: _Look, holds: NDArray[np.bool_]) -> tuple[int, int] | None:
    """Return how many elements are wrong and how many right, None where a side does not part them."""
    try:
        here = np.broadcast_to(holds, look.wrong.shape)
    except ValueError:
        return None
    if (look.wrong & ~here).any() or (look.right & here).any():
        return None
    return int(look.wrong.sum()), int(look.right.sum())
