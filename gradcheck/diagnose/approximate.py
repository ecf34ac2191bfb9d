# SPDX-License-Identifier: Apache-2.0
"""Name a gradient that follows the reference everywhere and equals it nowhere: the slope of another formula."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gradcheck.diagnose.evidence import Diagnosis
from gradcheck.measure.lab import Lab
from gradcheck.measure.measurement import Measurement
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.closeness import largest
from gradcheck.verdict.tolerances import APPROXIMATE_DRAWS, APPROXIMATE_RTOL, COUNTABLE, TRIAL_FACTORS


def approximate(lab: Lab, measurement: Measurement) -> Diagnosis | None:
    """Return the diagnosis for a gradient that is near the reference at the sample and at further draws."""
    off = _off(measurement.gradient, measurement.wanted)
    if measurement.declared or measurement.slot.size < COUNTABLE or not off <= APPROXIMATE_RTOL:
        return None
    for number in range(APPROXIMATE_DRAWS):
        elsewhere = _elsewhere(lab, measurement, number)
        if elsewhere is None or not elsewhere <= APPROXIMATE_RTOL:
            return None
        off = max(off, elsewhere)
    # Twice as much, as other inputs and upstreams have other errors.
    atol = float(f"{2 * off * largest(measurement.wanted):.1g}")
    return Diagnosis(
        "approximate",
        f"it is near the reference everywhere (off by up to {100 * off:.2g} % of the largest element, by no factor):"
        " it looks like the slope of another formula for nearly the same values",
        "differentiate the formula that the forward has: look for an approximation, a constant with few digits or a"
        f" small term that only one of them has; if the approximation is meant, allow it: `atol: {atol:g}`",
    )


def _elsewhere(lab: Lab, measurement: Measurement, number: int) -> float | None:
    """Return how far the gradient is from autodiff where the input is another one; None if that is not known."""
    point = lab.precision.point
    x, part = point.x.copy(), measurement.part
    x[part] *= lab.rng("approximate", str(number)).uniform(*TRIAL_FACTORS, measurement.slot.width)
    there = replace(point, x=point.clipped(x))
    gradient, autodiff = lab.gradient_near(there), lab.autodiff(there)
    return None if gradient is None or autodiff is None else _off(gradient[part], autodiff[part])


def _off(gradient: Array, wanted: Array) -> float:
    """Return the largest error beside the largest element; infinity where one of them is no number."""
    if not (np.isfinite(gradient).all() and np.isfinite(wanted).all()):
        return float("inf")
    most = largest(wanted)
    return float(np.max(np.abs(gradient - wanted)) / most) if most else float("inf")
