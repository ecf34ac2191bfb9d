# SPDX-License-Identifier: Apache-2.0
"""The bare forward with switches on the rules of its lines, and the gradient under test at two independent points."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.switchboard import Group, Switchboard
from gradcheck.backend.tensorflow.wide_forward import TooLarge
from gradcheck.differences.vector_function import Point
from gradcheck.measure.dissected import Draw, two_points, wide_forward
from gradcheck.numerics.arrays import Array

if TYPE_CHECKING:
    from gradcheck.measure.lab import Lab


@dataclass(frozen=True, slots=True)
class Switched:
    """Hold a forward with switches, two points, and the gradients there: under test, and of the bare forward."""

    board: Switchboard
    points: tuple[Point, Point]
    draws: tuple[Draw, Draw]
    _known: dict[tuple[int, tuple[int, ...], str], Array] = field(default_factory=dict)

    def delta(self, number: int, group: Group, change: str) -> Array:
        """Return by how much the gradient at a point changes with the rules of a group; once for all inputs."""
        key, point = (number, group.uses, change), self.points[number]
        if key not in self._known:
            gradient = self.board.gradient(point.x, point.cotangent, group, change)
            self._known[key] = gradient - self.draws[number].right
        return self._known[key]


def switched(lab: Lab) -> Switched | None:
    """Return the forward with its switches, None where it cannot be rewritten or is large."""
    try:
        return refused(lambda: _switched(lab))
    except TooLarge:
        return None


def _switched(lab: Lab) -> Switched | None:
    points, draws = two_points(lab), []
    for at in points:
        gradient, right = lab.gradient_near(at), lab.autodiff(at)
        if gradient is None or right is None:
            return None
        draws.append(Draw(gradient, right, ()))
    return Switched(Switchboard(wide_forward(lab), lab.upstream), points, (draws[0], draws[1]))
