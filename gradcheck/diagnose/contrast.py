# SPDX-License-Identifier: Apache-2.0
"""Which of the three gradients differs from the two others."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gradcheck.diagnose.evidence import Diagnosis
from gradcheck.differences.assess import Outcome
from gradcheck.differences.ladder import Label
from gradcheck.measure.lab import Lab
from gradcheck.measure.measurement import Measurement
from gradcheck.verdict.tolerances import SAME_RTOL, SLOPE_RTOL

STOPPED = "tf.stop_gradient"


def stopped_in_the_forward(lab: Lab, diagnosis: Diagnosis) -> Diagnosis:
    """Return the diagnosis of a gradient that is autodiff's: the forward itself stops it, unless it is a staircase."""
    if diagnosis.cause == "straight-through":
        return diagnosis
    cut = next((cut for cut in lab.facts.cuts if cut.name == STOPPED), None)
    place = f" ({Path(cut.file).name}:{cut.line})" if cut is not None and cut.file else ""
    return Diagnosis("stopped", f"nothing comes through {STOPPED}{place}")


def contrast_of(measurement: Measurement, stops: bool = False) -> str:
    """Return the sentence that says which of the three gradients stands alone; `stops`: the op holds stop_gradient."""
    wrong = measurement.wrong & (measurement.label != Label.KINK)
    wrong = wrong if wrong.any() else measurement.wrong
    if measurement.declared:
        return f"It differs from {measurement.declared}."
    if measurement.autodiff is None or not np.any(measurement.autodiff):
        return "It differs from the finite difference; there is no autodiff of the bare forward."
    g, a, t = measurement.gradient[wrong], measurement.autodiff[wrong], measurement.value[wrong]
    decided = np.isfinite(t) & (measurement.outcome[wrong] == Outcome.WRONG)
    if not decided.all():
        return "Autodiff disagrees with it; the finite difference cannot decide."
    near = np.abs(a - t) <= SLOPE_RTOL * np.maximum(np.abs(t), np.abs(a)) + measurement.error[wrong]
    same = np.abs(a - g) <= SAME_RTOL * np.maximum(np.abs(g), np.abs(a))
    if near.all():
        return "Autodiff and finite differences agree with each other and not with it."
    if same.all() and stops:
        return f"Analytic and autodiff agree and finite differences do not: there is a {STOPPED} in the forward."
    if same.all():
        return "Analytic and autodiff agree and finite differences do not: the rule of an op inside is wrong too."
    return "All three differ; analytic and autodiff both differ from finite differences."
