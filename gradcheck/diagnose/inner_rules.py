# SPDX-License-Identifier: Apache-2.0
"""Find the inner custom gradient whose rule makes a gradient what it is: a straight-through step inside a larger op."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.vector_op import VectorOp
from gradcheck.diagnose.evidence import Diagnosis
from gradcheck.differences.vector_function import Point
from gradcheck.measure.lab import Lab
from gradcheck.measure.precision import keeping, stopping
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.closeness import close
from gradcheck.verdict.tolerances import INNER_RULES, SAME_RTOL


def inner_rule(lab: Lab, x: Array, coordinates: np.ndarray | slice) -> Diagnosis | None:
    """Return the diagnosis if autodiff that keeps the rule of one inner function is the gradient at x, None if not."""
    own = getattr(lab.loaded.op, "__qualname__", "")
    inside = [name for name in lab.called if name != own]
    if not lab.facts.stopping or not inside or lab.random:
        return None
    point = replace(lab.precision.point, x=x)
    gradient = lab.gradient_near(point)
    if gradient is None or lab.bypassed or not np.any(gradient[coordinates] != 0):
        return None
    bare = lab.autodiff(point)
    if bare is None or not np.any(bare[coordinates]):
        # An op that is no more than a step of its own is declared by the function whose gradient it has.
        inside = [name for name in inside if not name.startswith(f"{own}.<locals>.")]
    for name in inside[:INNER_RULES]:
        kept = _autodiff(keeping(lab, name), point)
        if kept is not None and _same(kept, gradient, coordinates) and _is_flat(lab, name, point):
            short = name.rpartition(".")[2]
            return Diagnosis(
                "straight-through",
                f"it is right but for the rule of `{short}` inside, which is not the derivative of what that computes",
                f"if the rule is meant, declare it: `intended: [{short}]`",
            )
    return None


def _is_flat(lab: Lab, name: str, point: Point) -> bool:
    """Return whether an inner function has no slope by itself: to stop the gradient there changes nothing.

    The rule of one that has a slope is wrong, or right, as any other.
    """
    stopped, bare = _autodiff(stopping(lab, name), point), lab.autodiff(point)
    return stopped is not None and (bare is None or _same(stopped, bare, slice(None)))


def _autodiff(op: VectorOp | None, point: Point) -> Array | None:
    return None if op is None else refused(lambda: op.autodiff_gradient(point.x, point.cotangent))


def _same(found: Array, wanted: Array, coordinates: np.ndarray | slice) -> bool:
    return close(found[coordinates], wanted[coordinates], SAME_RTOL, finite_only=True)
