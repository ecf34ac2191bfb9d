# SPDX-License-Identifier: Apache-2.0
"""Does the gradient of an op in float64 pass through float32 on its way, which leaves it 7 of 16 digits?"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.graph_facts import only_in_gradient_coarser
from gradcheck.checks.check import (
    CUSTOM,
    DERIVATIVE,
    FIXED,
    INPUTS,
    OUTPUTS,
    OWN_SLOPE,
    Check,
    Item,
    Need,
    blamed_before,
)
from gradcheck.diagnose.rows import rows_between, worst_error
from gradcheck.differences.ladder import Label
from gradcheck.measure.lab import Lab
from gradcheck.measure.measurement import Measurement
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.closeness import largest
from gradcheck.results import Finding
from gradcheck.verdict.discrepancy import Mask
from gradcheck.verdict.rounding import last_digits_moved
from gradcheck.verdict.tolerances import LOST_MARGIN, NOISE_DRAWS, ROUNDOFF, SAME_IN_FLOAT64, SMALLEST

DOUBLE = Need(
    lambda lab: all(slot.dtype in ("float64", "complex128") for slot in lab.slots),
    "the op is not in float64",
    option=True,
)
NO_TOLERANCE = Need(lambda lab: lab.case.rtol is None and lab.case.atol is None, "the case allows a tolerance")


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Warn where the gradient is further from autodiff than float64 explains and a line of it casts from float32."""
    blamed = blamed_before(lab, found)
    parts = [m.autodiff for m in lab.measurements if m.autodiff is not None]
    if len(parts) < len(lab.measurements):
        return
    autodiff = np.concatenate(parts)
    apart = _apart(lab.gradient, autodiff)
    if not apart.any():
        return
    apart &= ~_explained(lab, autodiff)
    suspects = [m for m in lab.measurements if m.slot.name not in blamed and not m.missing and _smooth(m, apart).any()]
    line = _line_from_float32(lab) if suspects else None
    if line is not None:
        for measurement in suspects:
            yield _lost(lab, measurement, autodiff[measurement.part], _smooth(measurement, apart), line)


CHECK = Check(
    "float32 inside", "precision", ask, (DOUBLE, CUSTOM, FIXED, INPUTS, OUTPUTS, DERIVATIVE, OWN_SLOPE, NO_TOLERANCE)
)


def _smooth(measurement: Measurement, apart: Mask) -> Mask:
    return np.asarray(apart[measurement.part] & (measurement.label == Label.SMOOTH) & ~measurement.wrong)


def _apart(gradient: Array, autodiff: Array) -> Mask:
    """Return where two gradients in float64 differ by more than two formulas do, beside the largest."""
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(autodiff), SMALLEST * largest(autodiff))
        return np.asarray(np.abs(gradient - autodiff) > SAME_IN_FLOAT64 * size)


def _explained(lab: Lab, autodiff: Array) -> Mask:
    """Return where last digits of the inputs move either gradient by as much as they differ."""
    point, rng, unit = lab.precision.point, lab.rng("float32 inside"), ROUNDOFF["float64"]
    moved = lab.rounding.gradient_tolerance.copy()
    for _ in range(NOISE_DRAWS):
        there = point.clipped(last_digits_moved(point.x, unit, rng))
        bare = refused(functools.partial(lab.precision.op.autodiff_gradient, there, point.cotangent))
        if bare is not None:
            with np.errstate(all="ignore"):
                np.fmax(moved, np.abs(bare - autodiff), out=moved)
    return np.asarray(np.abs(lab.gradient - autodiff) <= LOST_MARGIN * moved)


def _line_from_float32(lab: Lab) -> tuple[str, int] | None:
    """Return the line that casts from float32 in the gradient; None if there is none, or one in the forward too."""
    lines = refused(lambda: only_in_gradient_coarser(lab.gradients, lab.values, lab.upstream))
    return lines[0] if lines else None


def _lost(lab: Lab, measurement: Measurement, autodiff: Array, wrong: Mask, line: tuple[str, int]) -> Finding:
    own = measurement.gradient
    error = worst_error(own[wrong], autodiff[wrong], autodiff)
    return Finding(
        "precision-loss",
        f"the gradient of `{measurement.slot.name}` is off by up to {error} in {measurement.slot.dtype}:"
        " it passes through float32, which holds 7 digits; the forward does not",
        hint="make constants by tf.constant(value, x.dtype), as tf.cast of a Python number goes through float32;"
        " cast nothing else to float32",
        wrt=measurement.slot.name,
        elements=rows_between(measurement, wrong, lab.show, own, autodiff, measurement.tolerance),
        wrong=int(wrong.sum()),
        file=line[0] or None,
        line=line[1] or None,
    )
