# SPDX-License-Identifier: Apache-2.0
"""Find the inner custom gradient whose rule makes a gradient what it is: a straight-through step inside a larger op."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gradcheck.backend.tensorflow.faults import refused
from gradcheck.diagnose.evidence import Diagnosis
from gradcheck.measure.lab import Lab
from gradcheck.measure.precision import keeping
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.closeness import close
from gradcheck.verdict.tolerances import INNER_RULES, SAME_RTOL


def inner_rule(lab: Lab, x: Array, coordinates: np.ndarray | slice) -> Diagnosis | None:
    """Return the diagnosis if autodiff that keeps the rule of one inner function is the gradient at x, None if not."""
    own = getattr(lab.loaded.op, "__qualname__", "")
    inside = [name for name in lab.called if name != own]
    # The only rule is the one that is checked: to keep it explains nothing.
    if not lab.facts.stopping or not inside or len(lab.called) == 1 or lab.random:
        return None
    point = replace(lab.precision.point, x=x)
    gradient = lab.gradient_near(point)
    if gradient is None or lab.bypassed or not np.any(gradient[coordinates] != 0):
        return None
    for name in inside[:INNER_RULES]:
        op = keeping(lab, name)
        kept = None if op is None else refused(lambda op=op: op.autodiff_gradient(point.x, point.cotangent))  # type: ignore[misc]
        if kept is not None and close(kept[coordinates], gradient[coordinates], SAME_RTOL, finite_only=True):
            short = name.rpartition(".")[2]
            return Diagnosis(
                "straight-through",
                f"it is right but for the rule of `{short}` inside, which is not the derivative of what that computes",
                f"if the rule is meant, declare it: `intended: [{short}]`",
            )
    return None
