# SPDX-License-Identifier: Apache-2.0
"""What is noted of conditions while a graph is followed: on which sides they are, and how far from the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.backend.tensorflow.op_by_op import Program, Step, place_of
from gradcheck.backend.tensorflow.truth import Truth, known, positive

Key = tuple[str, str, str]
# What two conditions can be together.
TOGETHER = ((True, True), (True, False), (False, True), (False, False))


@dataclass(frozen=True, slots=True)
class Condition:
    """Name a condition: its op, and where the user wrote it; `joint` is one of several that hold together."""

    key: Key
    op: str
    file: str
    line: int
    joint: bool = False


@dataclass(slots=True)
class Sides:
    """Hold on which sides a condition is somewhere, clearly, and how far the nearest element is from each.

    `edge` says that some element is just between the sides.
    """

    condition: Condition
    true: bool
    false: bool
    to_true: Any
    to_false: Any
    edge: bool = False

    def add(self, other: Sides) -> None:
        """Take in the same condition at another place or step of a loop."""
        self.true, self.false = self.true or other.true, self.false or other.false
        self.edge = self.edge or other.edge
        least = tf.minimum if tf.is_tensor(self.to_true) else min
        self.to_true = least(self.to_true, other.to_true)
        self.to_false = least(self.to_false, other.to_false)

    def on(self, side: bool) -> bool:
        """Return whether some element is on a side."""
        return self.true if side else self.false

    def distance(self, side: bool) -> Any:
        """Return the distance of the nearest element from a side."""
        return self.to_true if side else self.to_false


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """Hold a truth value with the op that made it."""

    truth: Truth
    graph: str
    op: Any


@dataclass(slots=True)
class Frame:
    """Hold the tensors of one graph while it is followed, and what is known beside their values."""

    program: Program
    values: list[Any]
    truths: dict[int, Origin] = field(default_factory=dict)
    counts: dict[int, Any] = field(default_factory=dict)
    inside: dict[int, tuple[Origin, ...]] = field(default_factory=dict)
    recorded: set[int] = field(default_factory=set)
    # What changes with inputs, variables or sizes: other conditions have one side only.
    live: set[int] = field(default_factory=set)


class Notes:
    """Collect the sides of conditions; of `only` one of them, with slopes, if that is given.

    A side begins at `depth`; `known` keeps the conditions, whose places take long to find, and `met` the sides on
    which they were, for all looks.
    """

    def __init__(
        self, depth: float, known: dict[Key, Condition], met: set[tuple[Key, bool]], only: Key | None = None
    ) -> None:
        self.depth, self.only = depth, only
        self.seen: dict[Key, Sides] = {}
        self._known, self._met = known, met

    def part(self, tensor: Any) -> Any:
        """Return a tensor as a truth value holds it: with slopes where one condition is looked at, as an array else."""
        return tensor if self.only is not None else tensor.numpy()

    def depth_at(self, a: Any, b: Any) -> Any:
        """Return how deep inside a side begins, for two operands: a share of the smaller."""
        if self.only is None:
            return self.depth * (1.0 + np.minimum(np.abs(a), np.abs(b)))
        return self.depth * tf.stop_gradient(1.0 + tf.minimum(tf.abs(a), tf.abs(b)))

    def record(self, frame: Frame, slot: int, origin: Origin | None = None) -> None:
        """Note a truth value that something else than logic takes."""
        origin = origin or frame.truths.get(slot)
        if origin is not None and slot not in frame.recorded and slot in frame.live:
            frame.recorded.add(slot)
            self.note((origin.graph, origin.op.name, ""), origin.op, origin.truth)

    def record_margin(self, frame: Frame, step: Step, margin: Any, tag: str = "bend") -> None:
        """Note that an op does one thing where `margin` is positive and another where it is not."""
        key = (frame.program.name, step.op.name, tag)
        if self.only in (None, key) and not frame.live.isdisjoint(step.inputs):
            self.note(key, step.op, positive(self.part(margin), self.depth))

    def record_case(self, frame: Frame, step: Step, chosen: int, count: int) -> None:
        """Note which of several branches a number chooses: one condition for each."""
        for number in range(count):
            key = (frame.program.name, step.op.name, f"branch-{number}")
            if self.only in (None, key) and step.inputs[0] in frame.live:
                self.note(key, step.op, known(self.part(tf.constant(chosen == number))))

    def record_joint(self, frame: Frame, step: Step, one: Origin, other: Origin, second_only: bool = False) -> None:
        """Note two conditions together: that both hold, and that one holds without the other."""
        if one.op is other.op:
            return
        for number in range(2 if second_only else len(TOGETHER)):
            key = (frame.program.name, step.op.name, f"{one.op.name} {other.op.name} {number}")
            if self.only == key or (self.only is None and self._may_hold(one, other, number)):
                self.note_joint(key, one, other, number)

    def _may_hold(self, one: Origin, other: Origin, number: int) -> bool:
        """Return whether each of two conditions was on its side in some look: else they cannot be so together."""
        keys = [(origin.graph, origin.op.name, "") for origin in (one, other)]
        return all(
            key not in self._known or (key, side) in self._met for key, side in zip(keys, TOGETHER[number], strict=True)
        )

    def note_joint(self, key: Key, one: Origin, other: Origin, number: int) -> None:
        """Note whether two conditions are as TOGETHER[number] says somewhere, where their shapes fit."""
        first, second = (
            origin.truth if holds else origin.truth.opposite()
            for origin, holds in zip((one, other), TOGETHER[number], strict=True)
        )
        try:
            self.note(key, other.op, first.both(second), joint=True)
        except (tf.errors.InvalidArgumentError, ValueError):
            return

    def note(self, key: Key, op: Any, truth: Truth, joint: bool = False) -> None:
        """Note on which sides a truth value is somewhere."""
        if self.only not in (None, key):
            return
        if self.only is None:
            self._add(key, op, truth.to_true, truth.to_false, joint)
            return
        to_true, to_false = truth.to_true, truth.to_false
        if int(tf.size(to_true)):
            on_true, on_false = (bool((distance.numpy() == 0).any()) for distance in (to_true, to_false))
            condition = self._condition(key, op, joint)
            self._keep(Sides(condition, on_true, on_false, _least(to_true), _least(to_false)))

    def _add(self, key: Key, op: Any, to_true: Any, to_false: Any, joint: bool) -> None:
        if not np.size(to_true):
            return
        least = [float(np.min(np.where(np.isnan(part), np.inf, part))) for part in (to_true, to_false)]
        edge = any(bool(np.any((part > 0) & (part <= 2 * self.depth))) for part in (to_true, to_false))
        self._keep(Sides(self._condition(key, op, joint), least[0] == 0, least[1] == 0, least[0], least[1], edge))

    def _condition(self, key: Key, op: Any, joint: bool) -> Condition:
        if key not in self._known:
            self._known[key] = Condition(key, op.type, *place_of(op), joint)
        return self._known[key]

    def _keep(self, sides: Sides) -> None:
        key = sides.condition.key
        self._met.update((key, side) for side in (True, False) if sides.on(side))
        before = self.seen.get(key)
        if before is None:
            self.seen[key] = sides
        else:
            before.add(sides)


def _least(distances: Any) -> Any:
    inf = tf.constant(np.inf, tf.float64)
    return tf.reduce_min(tf.where(tf.math.is_nan(distances), inf, distances))
