"""Which conditions steer the values of a traced function, on which sides they are, and how far from the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

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
    as_number,
    boxed,
    function_graph,
    on_box,
    place_of,
    program_of,
    wide_tensor,
)
from gradcheck.backend.tensorflow.tracing import GradientTape
from gradcheck.backend.tensorflow.truth import Truth, equal, known, positive, soft, with_slope

# Where a graph has more ops, nobody waits for it to be run op by op.
MOST_OPS = 4000
# How far inside of a side, as a share of its operands, an element is on it clearly: roundings move it no more.
CLEARLY = 1e-6
# Conditions inside one another that are looked at together.
TOGETHER = 6
_ORDERED = {"Greater": 1, "GreaterEqual": 1, "Less": -1, "LessEqual": -1}
_EQUALITIES = ("Equal", "NotEqual")
_LOGIC = ("LogicalAnd", "LogicalOr", "LogicalNot", "All", "Any")
_MOVING = frozenset(
    {"Identity", "Reshape", "ExpandDims", "Squeeze", "BroadcastTo", "Tile", "Transpose", "StridedSlice", "Slice",
     "GatherV2", "Pack", "ConcatV2", "StopGradient", "ReverseV2", "Roll", "GatherNd", "Unpack", "PadV2"}
)  # fmt: skip
_ELEMENTWISE = frozenset({"Mul", "RealDiv", "Div", "DivNoNan", "AddV2", "Add", "Sub", "Neg", "Identity", "Reshape",
                          "ExpandDims", "BroadcastTo", "Cast"})  # fmt: skip
# Ops on whole numbers through which a count keeps its slope: of all inputs, or of the first.
_COUNTED = ("AddV2", "Add", "Sub", "Mul", "Maximum", "Minimum", "Neg")
_COUNTED_FIRST = ("Sum", "Max", "Min", "Prod", "Reshape", "ExpandDims", "Squeeze", "StridedSlice", "Cumsum",
                  "BroadcastTo", "Tile", "Transpose", "Identity")  # fmt: skip
_STAIRS = ("Floor", "Ceil", "Round", "Rint")
# Ops that bend at zero of one of their inputs.
_BENDS = {"Relu": 0, "Relu6": 0, "LeakyRelu": 0, "Elu": 0, "Selu": 0, "Abs": 0, "Sign": 0,
          "ReluGrad": 1, "Relu6Grad": 1, "LeakyReluGrad": 1}  # fmt: skip

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
class _Origin:
    """Hold a truth value with the op that made it."""

    truth: Truth
    graph: str
    op: Any


@dataclass(slots=True)
class _Frame:
    """Hold the tensors of one graph while it is followed, and what is known beside their values."""

    program: Program
    values: list[Any]
    truths: dict[int, _Origin] = field(default_factory=dict)
    counts: dict[int, Any] = field(default_factory=dict)
    inside: dict[int, tuple[_Origin, ...]] = field(default_factory=dict)
    recorded: set[int] = field(default_factory=set)
    # What changes with inputs, variables or sizes: other conditions have one side only.
    live: set[int] = field(default_factory=set)


class Conditions:
    """Follow a traced function and note its conditions."""

    def __init__(self, concrete: Any, variables: Sequence[Any]) -> None:
        """Raise CannotFollow for a graph that is too large."""
        self._graph, self._variables = concrete.graph, tuple(variables)
        self._captured = list(concrete.captured_inputs)
        self._programs: dict[str, Program] = {}
        self._main = self._program(concrete.graph, "")
        self._seen: dict[Key, Sides] = {}
        self._only: Key | None = None
        self._depth = 0.0

    @property
    def size(self) -> int:
        """Return the number of ops that were found by now."""
        return sum(len(program.steps) for program in self._programs.values())

    def at(self, values: Sequence[Any], variables: Sequence[Any]) -> dict[Key, Sides]:
        """Return the sides of every condition at these inputs, upstreams included, and values of the variables."""
        self._only, self._depth = None, CLEARLY
        return self._followed([wide_tensor(v) for v in values], [wide_tensor(v) for v in variables])

    def toward(
        self, key: Key, side: bool, values: Sequence[Any], variables: Sequence[Any], depth: float
    ) -> tuple[bool, float, list[Any]]:
        """Return whether a condition is on a side, how far from `depth` inside of it, and the slopes of that."""
        self._only, self._depth = key, depth
        tensors, held = [wide_tensor(v) for v in values], [wide_tensor(v) for v in variables]
        with GradientTape() as tape:
            moved = [t for t in [*tensors, *held] if t.dtype == tf.float64]
            tape.watch(moved)
            found = self._followed(tensors, held).get(key)
            distance = None if found is None else found.distance(side)
        if found is None or distance is None:
            return False, float("inf"), []
        try:
            slopes = iter(tape.gradient(distance, moved))
        except (LookupError, tf.errors.OpError):
            slopes = iter([None] * len(moved))
        every = [next(slopes) if t.dtype == tf.float64 else None for t in [*tensors, *held]]
        return found.on(side), float(distance), [_dense(g) for g in every]

    def _followed(self, tensors: list[Any], held: list[Any]) -> dict[Key, Sides]:
        self._seen = {}
        pairs = list(zip(self._variables, held, strict=True))
        captured = [boxed(t, pairs) if t.dtype == tf.resource else wide_tensor(t) for t in self._captured]
        frame = self._frame(self._main, [*tensors, *captured])
        frame.live.update(frame.program.inputs)
        self._run(frame)
        return self._seen

    def _program(self, graph: Any, name: str) -> Program:
        if name not in self._programs:
            self._programs[name] = program_of(graph, name)
            if self.size > MOST_OPS:
                raise CannotFollow("the graph is too large")
        return self._programs[name]

    def _frame(self, program: Program, inputs: Sequence[Any]) -> _Frame:
        frame = _Frame(program, [None] * program.size)
        for slot, value in zip(program.inputs, inputs, strict=True):
            frame.values[slot] = value
        return frame

    def _run(self, frame: _Frame) -> None:
        for step in frame.program.steps:
            inputs = [frame.values[i] for i in step.inputs]
            if not frame.live.isdisjoint(step.inputs) or step.kind == "VarHandleOp":
                frame.live.update(step.outputs)
            if step.kind in _ENTERED:
                self._enter(frame, step, inputs)
                continue
            if any(isinstance(value, Box) for value in inputs):
                self._on_box(frame, step, inputs)
                continue
            handler = _HANDLERS.get(step.kind)
            outputs = handler(self, frame, step, inputs) if handler else None
            if outputs is None:
                outputs = self._plain(frame, step, inputs)
            for slot, value in zip(step.outputs, outputs, strict=False):
                frame.values[slot] = value

    def _on_box(self, frame: _Frame, step: Step, inputs: list[Any]) -> None:
        if step.kind == "Identity":
            frame.values[step.outputs[0]] = inputs[0]
            return
        first = inputs[0]
        outputs = on_box(step, first, inputs[1:]) if isinstance(first, Box) else None
        if outputs is None:
            outputs = step.call([v.handle if isinstance(v, Box) else v for v in inputs])
        for slot, value in zip(step.outputs, outputs, strict=False):
            frame.values[slot] = value

    def _enter(self, frame: _Frame, step: Step, inputs: list[Any]) -> None:
        """Follow the function that a call, a conditional or a loop chooses."""
        op, kind = step.op, step.kind
        slots = list(step.inputs)
        if kind in LOOPS:
            self._loop(frame, step, inputs)
            return
        if kind in CALLS:
            name = op.get_attr("f").name
        elif kind in CONDITIONALS:
            self._record(frame, slots[0])
            name = op.get_attr("then_branch" if as_bool(inputs[0]) else "else_branch").name
            slots, inputs = slots[1:], inputs[1:]
        else:
            branches = op.get_attr("branches")
            chosen = int(inputs[0])
            name = branches[chosen if 0 <= chosen < len(branches) else -1].name
            slots, inputs = slots[1:], inputs[1:]
        inner = self._called(op.graph, name, frame, slots, inputs)
        for outer, own in zip(step.outputs, inner.program.outputs, strict=False):
            _hand_over(inner, own, frame, outer)

    def _called(self, graph: Any, name: str, frame: _Frame, slots: Sequence[int], inputs: Sequence[Any]) -> _Frame:
        program = self._programs.get(name) or self._program(function_graph(graph, name), name)
        inner = self._frame(program, inputs)
        for outer, own in zip(slots, program.inputs, strict=True):
            _hand_over(frame, outer, inner, own)
        self._run(inner)
        return inner

    def _loop(self, frame: _Frame, step: Step, inputs: list[Any]) -> None:
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

    # --- What single ops say -------------------------------------------------------------------------------

    def _plain(self, frame: _Frame, step: Step, inputs: list[Any]) -> list[Any]:
        """Run an op; what it makes of truth values, counts and conditions goes with its result."""
        outputs = step.call(inputs)
        for slot in step.inputs:
            if slot in frame.truths and step.kind not in _MOVING:
                self._record(frame, slot)
        if step.kind in _MOVING and step.inputs and step.inputs[0] in frame.truths and len(outputs) == 1:
            origin = frame.truths[step.inputs[0]]
            self._moved(frame, step, inputs, origin)
        elif outputs and tf.is_tensor(outputs[0]) and outputs[0].dtype == tf.bool:
            frame.truths[step.outputs[0]] = _Origin(known(outputs[0]), frame.program.name, step.op)
        self._count(frame, step, inputs, outputs)
        if step.kind in _ELEMENTWISE and outputs:
            self._nest(frame, step)
        return outputs

    def _moved(self, frame: _Frame, step: Step, inputs: list[Any], origin: _Origin) -> None:
        packs = step.kind in ("Pack", "ConcatV2")
        data = [i for i in range(len(inputs)) if step.inputs[i] in frame.truths] if packs else [0]

        def moved(part: str) -> Any:
            replaced = list(inputs)
            for i in data:
                replaced[i] = getattr(frame.truths[step.inputs[i]].truth, part)
            return step.call(replaced)[0]

        truth = Truth(moved("value"), moved("to_true"), moved("to_false"))
        frame.truths[step.outputs[0]] = _Origin(truth, frame.program.name, origin.op)

    def _count(self, frame: _Frame, step: Step, inputs: list[Any], outputs: list[Any]) -> None:
        """Carry the slope of a count through arithmetic on whole numbers."""
        if len(outputs) != 1 or not tf.is_tensor(outputs[0]) or not outputs[0].dtype.is_integer:
            return
        counted = [i for i, slot in enumerate(step.inputs) if slot in frame.counts]
        if step.kind in _COUNTED and counted:
            data = [frame.counts.get(s, as_number(v)) for s, v in zip(step.inputs, inputs, strict=True)]
        elif step.kind in _COUNTED_FIRST and counted == [0]:
            data = [frame.counts[step.inputs[0]], *inputs[1:]]
        else:
            return
        frame.counts[step.outputs[0]] = step.call(data)[0]

    def _nest(self, frame: _Frame, step: Step) -> None:
        """Keep which conditions chose a number, and look at two of them together where they are multiplied."""
        found = [frame.inside.get(slot, ()) for slot in step.inputs]
        if step.kind == "Mul" and len(found) == 2:
            for a in found[0]:
                for b in found[1]:
                    self._record_joint(frame, step, a, b)
        merged = tuple(dict.fromkeys(origin for some in found for origin in some))[:TOGETHER]
        if merged:
            frame.inside[step.outputs[0]] = merged

    def _compare(self, frame: _Frame, step: Step, inputs: list[Any]) -> list[Any] | None:
        a, b = (_real(frame, slot, value) for slot, value in zip(step.inputs, inputs, strict=True))
        if a is None or b is None:
            return None
        (value,) = step.call(inputs)
        depth = self._depth * tf.stop_gradient(1.0 + tf.maximum(tf.abs(a), tf.abs(b)))
        if step.kind in _EQUALITIES:
            truth = equal(a - b, depth, value if step.kind == "Equal" else tf.logical_not(value))
            truth = truth if step.kind == "Equal" else truth.opposite()
        else:
            truth = positive((a - b) * _ORDERED[step.kind], depth, value)
        frame.truths[step.outputs[0]] = _Origin(truth, frame.program.name, step.op)
        return [value]

    def _logic(self, frame: _Frame, step: Step, inputs: list[Any]) -> list[Any] | None:
        truths = [frame.truths[slot].truth if slot in frame.truths else known(value)
                  for slot, value in zip(step.inputs, inputs, strict=True) if value.dtype == tf.bool]  # fmt: skip
        if step.kind == "LogicalNot":
            truth = truths[0].opposite()
        elif step.kind == "LogicalAnd":
            truth = truths[0].both(truths[1])
        elif step.kind == "LogicalOr":
            truth = truths[0].either(truths[1])
        else:
            axes, keepdims = inputs[1], step.op.get_attr("keep_dims")
            truth = truths[0].all(axes, keepdims) if step.kind == "All" else truths[0].any(axes, keepdims)
        frame.truths[step.outputs[0]] = _Origin(truth, frame.program.name, step.op)
        return [truth.value]

    def _cast(self, frame: _Frame, step: Step, inputs: list[Any]) -> list[Any] | None:
        (slot,), (out,) = step.inputs, step.outputs
        origin, count = frame.truths.get(slot), frame.counts.get(slot)
        if origin is None and inputs[0].dtype == tf.bool:
            origin = _Origin(known(inputs[0]), frame.program.name, step.op)
        if origin is not None:
            self._record(frame, slot, origin)
            count, frame.inside[out] = soft(origin.truth), (origin,)
        if count is None:
            return None
        (value,) = step.call(inputs)
        if value.dtype == tf.float64:
            return [with_slope(value, count)]
        frame.counts[out] = count
        return [value]

    def _select(self, frame: _Frame, step: Step, inputs: list[Any]) -> list[Any] | None:
        chooser, *branches = step.inputs
        origin = frame.truths.get(chooser) or _Origin(known(inputs[0]), frame.program.name, step.op)
        outputs = step.call(inputs)
        if outputs[0].dtype == tf.bool:
            p, q = (frame.truths[s].truth if s in frame.truths else known(v)
                    for s, v in zip(branches, inputs[1:], strict=True))  # fmt: skip
            truth = origin.truth.both(p).either(origin.truth.opposite().both(q))
            frame.truths[step.outputs[0]] = _Origin(truth, frame.program.name, step.op)
            return outputs
        self._record(frame, chooser, origin)
        negated = _Origin(origin.truth.opposite(), origin.graph, origin.op)
        for side, slot in zip((origin, negated), branches, strict=True):
            for inner in frame.inside.get(slot, ()):
                self._record_joint(frame, step, side, inner, second_only=True)
        merged = (origin, *(inner for slot in branches for inner in frame.inside.get(slot, ())))
        frame.inside[step.outputs[0]] = merged[:TOGETHER]
        return outputs

    def _stairs(self, frame: _Frame, step: Step, inputs: list[Any]) -> list[Any] | None:
        if inputs[0].dtype != tf.float64:
            return None
        (value,) = step.call(inputs)
        self._record_margin(frame, step, inputs[0] - 0.5)
        return [with_slope(value, inputs[0])]

    def _bend(self, frame: _Frame, step: Step, inputs: list[Any]) -> list[Any] | None:
        number = inputs[_BENDS[step.kind]]
        if number.dtype != tf.float64:
            return None
        self._record_margin(frame, step, number)
        if step.kind.startswith("Relu6"):
            self._record_margin(frame, step, number - 6.0, "6")
        if step.kind == "Sign":
            (value,) = step.call(inputs)
            return [with_slope(value, number / (1.0 + tf.abs(number)))]
        return None

    def _larger(self, frame: _Frame, step: Step, inputs: list[Any]) -> list[Any] | None:
        if inputs[0].dtype == tf.float64:
            self._record_margin(frame, step, inputs[0] - inputs[1])
        return None

    def _clip(self, frame: _Frame, step: Step, inputs: list[Any]) -> list[Any] | None:
        if inputs[0].dtype == tf.float64:
            self._record_margin(frame, step, inputs[0] - inputs[1], "low")
            self._record_margin(frame, step, inputs[0] - inputs[2], "high")
        return None

    def _arg(self, frame: _Frame, step: Step, inputs: list[Any]) -> list[Any] | None:
        numbers = inputs[0]
        if numbers.dtype != tf.float64:
            return None
        outputs = step.call(inputs)
        rows = numbers if step.kind == "ArgMax" else -numbers
        axis = int(inputs[1])
        rows = tf.experimental.numpy.moveaxis(rows, axis, -1)
        if rows.shape[-1] and rows.shape[-1] > 1:
            self._record_margin(frame, step, rows[..., 0] - tf.reduce_max(rows[..., 1:], -1))
        places = tf.reduce_sum(tf.nn.softmax(rows) * tf.range(rows.shape[-1], dtype=tf.float64), -1)
        frame.counts[step.outputs[0]] = with_slope(as_number(outputs[0]), places)
        return outputs

    def _order(self, frame: _Frame, step: Step, inputs: list[Any]) -> list[Any] | None:
        numbers = inputs[0]
        if numbers.dtype == tf.float64 and numbers.shape[-1] and numbers.shape[-1] > 1:
            self._record_margin(frame, step, numbers[..., 0] - numbers[..., 1])
        return None

    # --- What is noted -------------------------------------------------------------------------------------

    def _record(self, frame: _Frame, slot: int, origin: _Origin | None = None) -> None:
        """Note a truth value that something else than logic takes."""
        origin = origin or frame.truths.get(slot)
        if origin is not None and slot not in frame.recorded and slot in frame.live:
            frame.recorded.add(slot)
            self._note((origin.graph, origin.op.name, ""), origin.op, origin.truth)

    def _record_margin(self, frame: _Frame, step: Step, margin: Any, tag: str = "bend") -> None:
        key = (frame.program.name, step.op.name, tag)
        if self._only in (None, key) and not frame.live.isdisjoint(step.inputs):
            self._note(key, step.op, positive(margin, self._depth))

    def _record_joint(self, frame: _Frame, step: Step, one: _Origin, other: _Origin, second_only: bool = False) -> None:
        """Note two conditions together: that both hold, and that one holds without the other."""
        if one.op is other.op:
            return
        for number, (a, b) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))[: 2 if second_only else 4]):
            key = (frame.program.name, step.op.name, f"{one.op.name} {other.op.name} {number}")
            if self._only not in (None, key):
                continue
            first = one.truth.opposite() if a else one.truth
            second = other.truth.opposite() if b else other.truth
            try:
                self._note(key, other.op, first.both(second), joint=True)
            except (tf.errors.InvalidArgumentError, ValueError):
                return

    def _note(self, key: Key, op: Any, truth: Truth, joint: bool = False) -> None:
        if self._only not in (None, key) or not int(tf.size(truth.value)):
            return
        on_true, on_false = (
            bool((distance == 0).any()) for distance in (truth.to_true.numpy(), truth.to_false.numpy())
        )
        known_before = self._seen.get(key)
        condition = known_before.condition if known_before else Condition(key, op.type, *place_of(op), joint)
        sides = Sides(condition, on_true, on_false, _least(truth.to_true), _least(truth.to_false))
        if known_before is None:
            self._seen[key] = sides
        else:
            known_before.add(sides)


_ENTERED = frozenset((*CALLS, *CONDITIONALS, *LOOPS, *CASES))
_Handler = Callable[[Conditions, _Frame, Step, list[Any]], "list[Any] | None"]
_HANDLERS: Mapping[str, _Handler] = {
    **dict.fromkeys((*_ORDERED, *_EQUALITIES), Conditions._compare),
    **dict.fromkeys(_LOGIC, Conditions._logic),
    **dict.fromkeys(("Select", "SelectV2"), Conditions._select),
    **dict.fromkeys(_STAIRS, Conditions._stairs),
    **dict.fromkeys(_BENDS, Conditions._bend),
    **dict.fromkeys(("Maximum", "Minimum"), Conditions._larger),
    **dict.fromkeys(("ArgMax", "ArgMin"), Conditions._arg),
    **dict.fromkeys(("TopKV2", "XlaSort"), Conditions._order),
    "ClipByValue": Conditions._clip,
    "Cast": Conditions._cast,
}


def _hand_over(source: _Frame, own: int, target: _Frame, other: int) -> None:
    """Give a tensor of one graph to another, with what is known beside its value."""
    target.values[other] = source.values[own]
    if own in source.live:
        target.live.add(other)
    for name in ("truths", "counts", "inside"):
        here, there = getattr(source, name), getattr(target, name)
        if own in here:
            there[other] = here[own]


def _real(frame: _Frame, slot: int, value: Any) -> Any:
    """Return an operand as a real number with its slope, None for what is no number."""
    if slot in frame.counts:
        return frame.counts[slot]
    if value.dtype == tf.bool or not (value.dtype.is_integer or value.dtype == tf.float64):
        return None
    return as_number(value)


def _least(distances: Any) -> Any:
    inf = tf.constant(np.inf, tf.float64)
    return tf.reduce_min(tf.where(tf.math.is_nan(distances), inf, distances))


def _dense(gradient: Any) -> Any:
    if gradient is None:
        return None
    return (tf.convert_to_tensor(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient).numpy()
