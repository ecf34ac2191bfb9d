# SPDX-License-Identifier: Apache-2.0
"""Which conditions steer the values of a traced function, on which sides they are, and how far from the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from gradcheck.backend.tensorflow.condition_notes import Condition, Frame, Key, Notes, Origin, Sides
from gradcheck.backend.tensorflow.condition_ops import HANDLERS, plain
from gradcheck.backend.tensorflow.op_by_op import (
    CALLS,
    CASES,
    CONDITIONALS,
    LOOPS,
    MOST_STEPS,
    Box,
    CannotFollow,
    Program,
    Step,
    as_bool,
    boxed,
    function_graph,
    on_box,
    program_of,
    wide_tensor,
)
from gradcheck.backend.tensorflow.runs import dense, to_array
from gradcheck.backend.tensorflow.tracing import GradientTape
from gradcheck.backend.tensorflow.truth import known

__all__ = ["Condition", "Conditions", "Key", "Sides"]

# Where a graph has more ops, nobody waits for it to be run op by op.
MOST_OPS = 4000
# How far inside of a side, as a share of its operands, an element is on it clearly: roundings move it no more.
CLEARLY = 1e-6
_ENTERED = frozenset((*CALLS, *CONDITIONALS, *LOOPS, *CASES))


class Conditions:
    """Follow a traced function and note its conditions."""

    def __init__(self, concrete: Any, variables: Sequence[Any]) -> None:
        """Raise CannotFollow for a graph that is too large."""
        self._graph, self._variables = concrete.graph, tuple(variables)
        self._captured = list(concrete.captured_inputs)
        self._programs: dict[str, Program] = {}
        self._main = self._program(concrete.graph, "")
        self._known: dict[Key, Condition] = {}
        self._met: set[tuple[Key, bool]] = set()
        self._notes = Notes(CLEARLY, self._known, self._met)

    @property
    def size(self) -> int:
        """Return the number of ops that were found by now."""
        return sum(len(program.steps) for program in self._programs.values())

    def at(self, values: Sequence[Any], variables: Sequence[Any]) -> dict[Key, Sides]:
        """Return the sides of every condition at these inputs, upstreams included, and values of the variables."""
        self._notes = Notes(CLEARLY, self._known, self._met)
        self._run(self._entered([wide_tensor(v) for v in values], [wide_tensor(v) for v in variables]))
        return self._notes.seen

    def toward(
        self, key: Key, side: bool, values: Sequence[Any], variables: Sequence[Any], depth: float
    ) -> tuple[bool, float, list[Any]]:
        """Return whether a condition is on a side, how far from `depth` inside of it, and the slopes of that."""
        self._notes = Notes(depth, self._known, self._met, key)
        tensors, held = [wide_tensor(v) for v in values], [wide_tensor(v) for v in variables]
        with GradientTape() as tape:
            moved = [t for t in [*tensors, *held] if t.dtype == tf.float64]
            tape.watch(moved)
            frame = self._entered(tensors, held)
            if not self._run_for(frame, key):
                self._run(frame)
            found = self._notes.seen.get(key)
            distance = None if found is None else found.distance(side)
        if found is None or distance is None:
            return False, float("inf"), []
        try:
            slopes = iter(tape.gradient(distance, moved))
        except (LookupError, tf.errors.OpError):
            slopes = iter([None] * len(moved))
        every = [next(slopes) if t.dtype == tf.float64 else None for t in [*tensors, *held]]
        return found.on(side), float(distance), [to_array(dense(g)) for g in every]

    def _run_for(self, frame: Frame, key: Key) -> bool:
        """Run what one condition of the outermost graph needs; return False where all of the graph has to run."""
        graph, name, tag = key
        *names, number = tag.split() if " " in tag else (name, "")
        steps = None if graph else frame.program.needed(names)
        if steps is None:
            return False
        self._run(frame, steps)
        origins = [frame.truths.get(frame.program.made[made].outputs[0]) for made in names]
        if key not in self._notes.seen and all(origin is not None for origin in origins):
            if number:
                one, other = origins
                self._notes.note_joint(key, one, other, int(number))  # type: ignore[arg-type]
            elif origins[0] is not None:
                self._notes.note(key, origins[0].op, origins[0].truth)
        return key in self._notes.seen

    def _entered(self, tensors: list[Any], held: list[Any]) -> Frame:
        pairs = list(zip(self._variables, held, strict=True))
        captured = [boxed(t, pairs) if t.dtype == tf.resource else wide_tensor(t) for t in self._captured]
        frame = self._frame(self._main, [*tensors, *captured])
        frame.live.update(frame.program.inputs)
        return frame

    def _program(self, graph: Any, name: str) -> Program:
        if name not in self._programs:
            self._programs[name] = program_of(graph, name)
            if self.size > MOST_OPS:
                raise CannotFollow("the graph is too large")
        return self._programs[name]

    def _frame(self, program: Program, inputs: Sequence[Any]) -> Frame:
        frame = Frame(program, [None] * program.size)
        for slot, value in zip(program.inputs, inputs, strict=True):
            frame.values[slot] = value
        return frame

    def _run(self, frame: Frame, steps: Sequence[Step] | None = None) -> None:
        for step in frame.program.steps if steps is None else steps:
            inputs = [frame.values[i] for i in step.inputs]
            if not frame.live.isdisjoint(step.inputs) or step.kind == "VarHandleOp":
                frame.live.update(step.outputs)
            if step.kind in _ENTERED:
                self._enter(frame, step, inputs)
                continue
            if any(isinstance(value, Box) for value in inputs):
                self._on_box(frame, step, inputs)
                continue
            handler = HANDLERS.get(step.kind)
            outputs = handler(self._notes, frame, step, inputs) if handler else None
            if outputs is None:
                outputs = plain(self._notes, frame, step, inputs)
            for slot, value in zip(step.outputs, outputs, strict=False):
                frame.values[slot] = value

    def _on_box(self, frame: Frame, step: Step, inputs: list[Any]) -> None:
        if step.kind == "Identity":
            frame.values[step.outputs[0]] = inputs[0]
            return
        first = inputs[0]
        outputs = on_box(step, first, inputs[1:]) if isinstance(first, Box) else None
        if outputs is None:
            outputs = step.call([v.handle if isinstance(v, Box) else v for v in inputs])
        for slot, value in zip(step.outputs, outputs, strict=False):
            frame.values[slot] = value

    def _enter(self, frame: Frame, step: Step, inputs: list[Any]) -> None:
        """Follow the function that a call, a conditional or a loop chooses."""
        op, kind = step.op, step.kind
        slots = list(step.inputs)
        if kind in LOOPS:
            self._loop(frame, step, inputs)
            return
        if kind in CALLS:
            name = op.get_attr("f").name
        elif kind in CONDITIONALS:
            given = Origin(known(self._notes.part(inputs[0])), frame.program.name, op)
            self._notes.record(frame, slots[0], frame.truths.get(slots[0], given))
            name = op.get_attr("then_branch" if as_bool(inputs[0]) else "else_branch").name
            slots, inputs = slots[1:], inputs[1:]
        else:
            branches = op.get_attr("branches")
            chosen = int(inputs[0])
            self._notes.record_case(frame, step, chosen, len(branches))
            name = branches[chosen if 0 <= chosen < len(branches) else -1].name
            slots, inputs = slots[1:], inputs[1:]
        inner = self._called(op.graph, name, frame, slots, inputs)
        for outer, own in zip(step.outputs, inner.program.outputs, strict=False):
            _hand_over(inner, own, frame, outer)

    def _called(self, graph: Any, name: str, frame: Frame, slots: Sequence[int], inputs: Sequence[Any]) -> Frame:
        program = self._program_named(graph, name)
        inner = self._frame(program, inputs)
        for outer, own in zip(slots, program.inputs, strict=True):
            _hand_over(frame, outer, inner, own)
        self._run(inner)
        return inner

    def _loop(self, frame: Frame, step: Step, inputs: list[Any]) -> None:
        op, state = step.op, inputs
        live = [slot in frame.live for slot in step.inputs]
        condition, body = op.get_attr("cond").name, op.get_attr("body").name
        for _ in range(MOST_STEPS):
            asked = self._frame(self._program_named(op.graph, condition), state)
            self._run(asked)
            if not as_bool(asked.values[asked.program.outputs[0]]):
                break
            inner = self._frame(self._program_named(op.graph, body), state)
            inner.live.update(own for own, outer in zip(inner.program.inputs, live, strict=True) if outer)
            self._run(inner)
            live = [a or own in inner.live for a, own in zip(live, inner.program.outputs, strict=True)]
            state = [inner.values[i] for i in inner.program.outputs]
        else:
            raise CannotFollow(f"a loop takes more than {MOST_STEPS} steps")
        for slot, value in zip(step.outputs, state, strict=False):
            frame.values[slot] = value

    def _program_named(self, graph: Any, name: str) -> Program:
        return self._programs.get(name) or self._program(function_graph(graph, name), name)


def _hand_over(source: Frame, own: int, target: Frame, other: int) -> None:
    """Give a tensor of one graph to another, with what is known beside its value."""
    target.values[other] = source.values[own]
    if own in source.live:
        target.live.add(other)
    for name in ("truths", "counts", "inside"):
        here, there = getattr(source, name), getattr(target, name)
        if own in here:
            there[other] = here[own]
