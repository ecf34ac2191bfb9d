# SPDX-License-Identifier: Apache-2.0
"""The bare forward taken apart at two independent points, with the gradient under test at both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.backend.tensorflow.dissection import Dissection, Edge, Held
from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.wide_forward import TooLarge, WideForward
from gradcheck.differences.vector_function import Point
from gradcheck.numerics.arrays import Array
from gradcheck.verdict.tolerances import CANCELLED, CHANGED_MOVE

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
    dissection, draws = Dissection(wide_forward(lab), lab.upstream), []
    for at in two_points(lab):
        both = gradient_and_autodiff(lab, at)
        if both is None:
            return None
        draws.append(Draw(*both, dissection.at(at.x, at.cotangent)))
    return draws[0], draws[1]


def gradient_and_autodiff(lab: Lab, at: Point) -> tuple[Array, Array] | None:
    """Return the gradient under test and that of the bare forward at a point; None unless all of both is finite."""
    gradient, right = lab.gradient_near(at), lab.autodiff(at)
    if gradient is None or right is None or not (np.isfinite(gradient).all() and np.isfinite(right).all()):
        return None
    return gradient, right


def wide_forward(lab: Lab) -> WideForward:
    """Return the bare forward of a lab in float64; raises what its tracing raises, or CannotRewrite."""
    return WideForward(lab.gradients_of(lab.bare), lab.layout, [v.variable for v in lab.every_variable])


def with_held(lab: Lab) -> tuple[Draw, Draw] | None:
    """Return the points of a lab with the values held through which no gradient comes; None where there are none.

    The largest of a row that a softmax subtracts is one: its gradient cancels, so that nobody writes it.
    """
    draws = lab.dissected
    if draws is None:
        return None
    first, second = (_silent(draw) for draw in draws)
    names = [tensor for tensor in first if tensor in second]
    held = [[Held(tensor, silent[tensor]) for tensor in names] for silent in (first, second)]
    try:
        return refused(lambda: _held(lab, draws, held)) if names else None
    except TooLarge:
        return None


def _held(lab: Lab, draws: tuple[Draw, Draw], held: Sequence[Sequence[Held]]) -> tuple[Draw, Draw] | None:
    forward = wide_forward(lab)
    held = [[value for value in values if value.tensor not in forward.names] for values in held]
    if not held[0]:
        return None
    dissection = Dissection(forward, lab.upstream, held[0])
    first, second = (
        replace(draw, edges=dissection.at(at.x, at.cotangent, values))
        for draw, at, values in zip(draws, two_points(lab), held, strict=True)
    )
    return first, second


def _silent(draw: Draw) -> dict[str, Array]:
    """Return the values through which no gradient comes, by the name of the tensor."""
    parts: dict[str, list[Edge]] = {}
    for edge in draw.edges:
        parts.setdefault(edge.tensor, []).append(edge)
    return {tensor: edges[0].value for tensor, edges in parts.items() if _cancels(edges)}


def _cancels(edges: Sequence[Edge]) -> bool:
    """Return whether what comes back to a value from all ops that take it is rounding."""
    adjoint = np.abs(sum(edge.part for edge in edges)).max(initial=0.0)
    return bool(adjoint <= CANCELLED * max(np.abs(edge.upstream).max(initial=0.0) for edge in edges))
