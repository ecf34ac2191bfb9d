# SPDX-License-Identifier: Apache-2.0
"""The bare forward taken apart at two independent points, with the gradient under test at both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.backend.tensorflow.dissection import Dissection, Edge
from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.wide_forward import TooLarge, WideForward
from gradcheck.differences.vector_function import Point
from gradcheck.numerics.arrays import Array
from gradcheck.verdict.tolerances import CHANGED_MOVE

if TYPE_CHECKING:
    from gradcheck.measure.lab import Lab


@dataclass(frozen=True, slots=True)
class Draw:
    """Hold one point: the gradient under test and that of the bare forward there, and the parts of its rules."""

    gradient: Array
    right: Array
    edges: Sequence[Edge]


def dissected(lab: Lab) -> tuple[Draw, Draw] | None:
    """Return two independent points; None where the forward cannot be taken apart or has no gradient there."""
    try:
        return refused(lambda: _draws(lab))
    except TooLarge:
        return None


def two_points(lab: Lab) -> tuple[Point, Point]:
    """Return the sample and a point near it with another cotangent."""
    point, rng = lab.precision.point, lab.rng("counterfactual")
    moved = point.x * (1 + CHANGED_MOVE * rng.normal(size=point.x.size)) + CHANGED_MOVE * rng.normal(size=point.x.size)
    return point, replace(point, x=point.clipped(moved[None])[0], cotangent=rng.normal(size=point.cotangent.size))


def _draws(lab: Lab) -> tuple[Draw, Draw] | None:
    bare = lab.gradients_of(lab.bare)
    variables = [v.variable for v in lab.every_variable]
    dissection = Dissection(WideForward(bare, lab.layout, variables), lab.upstream)
    draws = []
    for at in two_points(lab):
        gradient, right = lab.gradient_near(at), lab.autodiff(at)
        if gradient is None or right is None or not (np.isfinite(gradient).all() and np.isfinite(right).all()):
            return None
        draws.append(Draw(gradient, right, dissection.at(at.x, at.cotangent)))
    return draws[0], draws[1]
