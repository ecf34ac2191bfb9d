"""What is noted of conditions while a graph is followed: on which sides they are, and how far from the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.backend.tensorflow.op_by_op import Program, Step, place_of
from gradcheck.backend.tensorflow.truth import Truth, positive

Key = tuple[str, str, str]


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
    """Hold on which sides a condition is somewhere, clearly, and how far the nearest element is from each."""

    condition: Condition
    true: bool
    false: bool
    to_true: Any
    to_false: Any

    def add(self, other: Sides) -> None:
        """Take in the same condition at another place or step of a loop."""
        self.true, self.false = self.true or other.true, self.false or other.false
        self.to_true = tf.minimum(self.to_true, other.to_true)
        self.to_false = tf.minimum(self.to_false, other.to_false)

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
    """Collect the sides of conditions; `only` one of them if that is given, each side from `depth` on."""

    def __init__(self, depth: float, only: Key | None = None) -> None:
        self.depth, self.only = depth, only
        self.seen: dict[Key, Sides] = {}

    def record(self, frame: Frame, slot: int, origin: Origin | None = None) -> None:
        """Note a truth value that something else than logic takes."""
        origin = origin or frame.truths.get(slot)
        if origin is not None and slot not in frame.recorded and slot in frame.live:
            frame.recorded.add(slot)
            self._note((origin.graph, origin.op.name, ""), origin.op, origin.truth)

    def record_margin(self, frame: Frame, step: Step, margin: Any, tag: str = "bend") -> None:
        """Note that an op does one thing where `margin` is positive and another where it is not."""
        key = (frame.program.name, step.op.name, tag)
        if self.only in (None, key) and not frame.live.isdisjoint(step.inputs):
            self._note(key, step.op, positive(margin, self.depth))

    def record_joint(self, frame: Frame, step: Step, one: Origin, other: Origin, second_only: bool = False) -> None:
        """Note two conditions together: that both hold, and that one holds without the other."""
        if one.op is other.op:
            return
        for number, (a, b) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))[: 2 if second_only else 4]):
            key = (frame.program.name, step.op.name, f"{one.op.name} {other.op.name} {number}")
            if self.only not in (None, key):
                continue
            first = one.truth.opposite() if a else one.truth
            second = other.truth.opposite() if b else other.truth
            try:
                self._note(key, other.op, first.both(second), joint=True)
            except (tf.errors.InvalidArgumentError, ValueError):
                return

    def _note(self, key: Key, op: Any, truth: Truth, joint: bool = False) -> None:
        if self.only not in (None, key) or not int(tf.size(truth.value)):
            return
        on_true, on_false = (
            bool((distance == 0).any()) for distance in (truth.to_true.numpy(), truth.to_false.numpy())
        )
        known_before = self.seen.get(key)
        condition = known_before.condition if known_before else Condition(key, op.type, *place_of(op), joint)
        sides = Sides(condition, on_true, on_false, _least(truth.to_true), _least(truth.to_false))
        if known_before is None:
            self.seen[key] = sides
        else:
            known_before.add(sides)


def _least(distances: Any) -> Any:
    inf = tf.constant(np.inf, tf.float64)
    return tf.reduce_min(tf.where(tf.math.is_nan(distances), inf, distances))
