# SPDX-License-Identifier: Apache-2.0
"""What steers the values of an op and of its gradient: the conditions of the traced gradient, at any point."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.backend.tensorflow.conditions import Condition, Conditions, Key, Sides
from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.written_numbers import whole_floats, written_numbers
from gradcheck.numerics.arrays import Array, Arrays
from gradcheck.numerics.descent import Toward

if TYPE_CHECKING:
    from gradcheck.measure.lab import Lab

# Ops that are continuous and have another slope on each side of a point.
BENDING = frozenset(
    {"Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Abs", "Maximum", "Minimum", "ClipByValue", "TopKV2", "XlaSort"}
)
NOWHERE: tuple[bool, float, Array] = (False, float("inf"), np.zeros(0))


class Steering:
    """Follow the traced gradient of an op, its forward included, at the points of a lab."""

    def __init__(self, lab: Lab) -> None:
        """Trace the gradient; raises what tracing raises."""
        self._lab = lab
        self._variables = lab.gradients.variables
        self._concrete = lab.gradients.traced_gradient(lab.values, lab.upstream)
        self._conditions = Conditions(self._concrete, self._variables)

    @property
    def size(self) -> int:
        """Return the number of ops that are followed."""
        return self._conditions.size

    def sides(self, x: Array) -> dict[Key, Sides] | None:
        """Return the sides of every condition at a point, None where the op refuses it."""
        values, variables = self._entered(x)
        return refused(lambda: self._conditions.at(values, variables))

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """Return the whole numbers in the op's code and in the trace, ascending."""
        return written_numbers(self._lab.loaded.op, self._concrete)

    @cached_property
    def whole_floats(self) -> tuple[int, ...]:
        """Return the whole numbers among the floating constants of the trace, ascending."""
        return whole_floats(self._concrete)

    @cached_property
    def of_grad(self) -> tuple[Condition, ...]:
        """Return the conditions of grad_fn, one for each line, that stand in no line of the forward's."""
        found, forward = self.sides(self._lab.vector()), self._forward_at_sample
        if not found or forward is None:
            return ()
        known = {(s.condition.file, s.condition.line) for s in forward.values()}
        single = [s.condition for s in found.values() if not s.condition.joint and s.condition.file]
        return tuple({(c.file, c.line): c for c in single if (c.file, c.line) not in known}.values())

    @cached_property
    def only_in_grad(self) -> tuple[Condition, ...]:
        """Return the conditions of grad_fn where the forward decides nothing: of one that does, they may be its own."""
        return () if self._forward_at_sample else self.of_grad

    def bends_at(self, x: Array) -> bool:
        """Return whether an op of the forward bends just at a point: its slope there is a convention."""
        sides = (self._forward_sides(x) or {}).values()
        return any(side.edge and side.condition.op in BENDING for side in sides)

    @cached_property
    def _forward_at_sample(self) -> dict[Key, Sides] | None:
        return self._forward_sides(self._lab.vector())

    def _forward_sides(self, x: Array) -> dict[Key, Sides] | None:
        values, variables = self._entered(x)
        count = len(self._lab.values)
        return refused(lambda: self._forward.at(values[:count], variables))

    @cached_property
    def _forward(self) -> Conditions:
        return Conditions(self._lab.gradients.traced_forward(self._lab.values), self._variables)

    def sides_of(self, values: Arrays) -> dict[Key, Sides] | None:
        """Return the sides at other leaves, of other sizes too; None where the op refuses them."""
        _, variables = self._entered(self._lab.vector())
        return refused(lambda: self._conditions.at([*values, *self._lab.upstream], variables))

    def toward(self, key: Key, side: bool) -> Toward:
        """Return the distance of a point from one side of a condition, with its slopes."""
        layout = self._lab.layout
        count = len(layout.values)

        def look(x: Array, depth: float) -> tuple[bool, float, Array]:
            values, variables = self._entered(x)
            found = refused(lambda: self._conditions.toward(key, side, values, variables, depth))
            if found is None or not found[2]:
                return NOWHERE
            there, distance, slopes = found
            own = [slopes[i] for i in layout.sources] + slopes[count + len(self._lab.upstream) :]
            return there, distance, layout.inputs.project(own)

        return look

    def _entered(self, x: Array) -> tuple[list[Any], list[Any]]:
        """Return leaves and upstreams, and variables, at a point."""
        layout = self._lab.layout
        parts = layout.inputs.unpack(x)
        values = list(self._lab.values)
        for position, part in zip(layout.sources, parts, strict=False):
            values[position] = part
        return [*values, *self._lab.upstream], list(parts[len(layout.sources) :])


def steering_of(lab: Lab) -> Steering | None:
    """Return what steers an op, None if it cannot be traced or followed."""
    try:
        return refused(lambda: Steering(lab))
    finally:
        lab.gradients.state.restore()


def written_numbers_of(lab: Lab) -> tuple[int, ...]:
    """Return the whole numbers in the op's code and in the trace of its gradient, ascending."""
    return () if lab.steering is None else lab.steering.numbers
