# SPDX-License-Identifier: Apache-2.0
"""Whether a factor that is the same at every element is the same at other inputs too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gradcheck.diagnose.evidence import Diagnosis
from gradcheck.measure.dissected import two_points
from gradcheck.measure.lab import Lab
from gradcheck.measure.measurement import Measurement
from gradcheck.numerics.arrays import Array
from gradcheck.verdict.tolerances import CLOSE, WEAK


def with_other_factor(lab: Lab, measurement: Measurement, diagnosis: Diagnosis) -> Diagnosis:
    """Return a diagnosis that tells a factor which depends on the inputs from one that is a number."""
    if diagnosis.cause != "constant-factor" or measurement.by_user or lab.random:
        return diagnosis
    here, there = (_ratio(lab, measurement.part, number) for number in range(2))
    if here is None or there is None or abs(here - there) <= CLOSE * abs(here):
        return diagnosis
    return replace(
        diagnosis,
        cause="inner-factor",
        message=f"gradient / reference is one number at all elements, which depends on the inputs: {here:.4g} at these",
        hint="look for a factor that is computed from the inputs: a value in the place of another, one left out",
        tentative=True,
    )


def _ratio(lab: Lab, part: slice, number: int) -> float | None:
    """Return the ratio of gradient and autodiff at one of two independent points, None where it is not one number."""
    point = two_points(lab)[number]
    gradient, autodiff = lab.gradient_near(point), lab.autodiff(point)
    return None if gradient is None or autodiff is None else _one_number(gradient[part], autodiff[part])


def _one_number(gradient: Array, reference: Array) -> float | None:
    strong = np.abs(reference) > WEAK * np.abs(reference).max(initial=0.0)
    if not strong.any() or not np.isfinite(gradient[strong]).all():
        return None
    ratios = gradient[strong] / reference[strong]
    middle = float(np.median(ratios))
    return middle if bool(np.all(np.abs(ratios - middle) <= CLOSE * abs(middle))) else None
