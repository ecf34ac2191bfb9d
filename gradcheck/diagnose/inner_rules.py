# SPDX-License-Identifier: Apache-2.0
"""Find the inner custom gradient whose rule makes a gradient what it is: a straight-through step, a wrong rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.vector_op import VectorOp
from gradcheck.diagnose.evidence import Diagnosis
from gradcheck.differences.vector_function import Point
from gradcheck.measure.lab import Lab
from gradcheck.measure.measurement import Measurement
from gradcheck.measure.mended import gradient_now
from gradcheck.measure.precision import keeping, stopping
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.closeness import close, largest
from gradcheck.verdict.tolerances import ELSEWHERE_RTOL, HALVES_ELSEWHERE_RTOL, INNER_RULES, SAME_RTOL


def inner_rule(lab: Lab, x: Array, coordinates: np.ndarray | slice) -> Diagnosis | None:
    """Return the diagnosis if autodiff that keeps the rule of one inner function is the gradient at x, None if not."""
    own = _own_name(lab)
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
        if kept is not None and _same(kept, gradient, coordinates) and _is_flat(lab, name, point, bare):
            short = name.rpartition(".")[2]
            return Diagnosis(
                "straight-through",
                f"it is right but for the rule of `{short}` inside, which is not the derivative of what that computes",
                f"if the rule is meant, declare it: `intended: [{short}]`",
            )
    return None


def with_wrong_rule(lab: Lab, measurement: Measurement, diagnosis: Diagnosis) -> Diagnosis:
    """Return a diagnosis with the one of several functions in the op whose rule is wrong, as it is if none is found."""
    if measurement.declared or lab.random or _right_now(lab, measurement):
        return diagnosis
    name = wrong_inside(lab, lambda: _right_now(lab, measurement))
    return diagnosis if name is None else replace(diagnosis, message=f"{diagnosis.message}. {without(name)}")


def without(name: str) -> str:
    """Return the words for a function whose rule alone is wrong."""
    return f"Without the rule of `{name}` inside it is right"


def _right_now(lab: Lab, measurement: Measurement) -> bool:
    """Return whether the gradient of an input, as the recorder lets rules run now, is the wanted one."""
    found = gradient_now(lab, lab.vector())
    known = measurement.decided & np.isfinite(measurement.wanted)
    if found is None or not known.any():
        return False
    rtol = HALVES_ELSEWHERE_RTOL if lab.rounds_to_half else ELSEWHERE_RTOL
    wanted = measurement.wanted[known]
    return close(found[measurement.part][known], wanted, rtol, rtol * largest(wanted))


def wrong_inside(lab: Lab, is_right: Callable[[], bool]) -> str | None:
    """Return the name of the inner function without whose rule alone something is right, None if there is none."""
    own, names = _own_name(lab), lab.called
    for name in names[:INNER_RULES] if len(names) > 1 else ():
        if name == own:
            continue
        others = [other for other in names if other != name]
        with lab.recorder.bypassed(), lab.recorder.keeping(*others):
            if is_right():
                return name.rpartition(".")[2]
    return None


def _own_name(lab: Lab) -> str:
    return str(getattr(lab.loaded.op, "__qualname__", ""))


def _is_flat(lab: Lab, name: str, point: Point, bare: Array | None) -> bool:
    """Return whether an inner function has no slope by itself: to stop the gradient there changes nothing.

    The rule of one that has a slope is wrong, or right, as any other.  `bare` is autodiff at the point.
    """
    stopped = _autodiff(stopping(lab, name), point)
    return stopped is not None and (bare is None or _same(stopped, bare, slice(None)))


def _autodiff(op: VectorOp | None, point: Point) -> Array | None:
    return None if op is None else refused(lambda: op.autodiff_gradient(point.x, point.cotangent))


def _same(found: Array, wanted: Array, coordinates: np.ndarray | slice) -> bool:
    return close(found[coordinates], wanted[coordinates], SAME_RTOL, finite_only=True)
