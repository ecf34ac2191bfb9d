# SPDX-License-Identifier: Apache-2.0
"""What single ops say of conditions: comparisons, logic, choices, counts, bends, stairs and orders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from gradcheck.backend.tensorflow.condition_notes import Frame, Notes, Origin
from gradcheck.backend.tensorflow.op_by_op import Step, as_number
from gradcheck.backend.tensorflow.truth import Truth, equal, known, positive, soft, with_slope

# Conditions inside one another that are looked at together.
INNER = 4
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


def plain(notes: Notes, frame: Frame, step: Step, inputs: list[Any]) -> list[Any]:
    """Run an op; what it makes of truth values, counts and conditions goes with its result."""
    outputs = step.call(inputs)
    for slot in step.inputs:
        if slot in frame.truths and step.kind not in _MOVING:
            notes.record(frame, slot)
    moved = next((slot for slot in step.inputs if slot in frame.truths), None)
    if step.kind in _MOVING and moved is not None and len(outputs) == 1:
        _moved(notes, frame, step, inputs, frame.truths[moved])
    elif outputs and tf.is_tensor(outputs[0]) and outputs[0].dtype == tf.bool:
        frame.truths[step.outputs[0]] = Origin(known(notes.part(outputs[0])), frame.program.name, step.op)
    _count(frame, step, inputs, outputs)
    if step.kind in _ELEMENTWISE and outputs:
        _nest(notes, frame, step)
    return outputs


def _moved(notes: Notes, frame: Frame, step: Step, inputs: list[Any], origin: Origin) -> None:
    truths = {
        i: frame.truths[slot].truth if slot in frame.truths else known(notes.part(value))
        for i, (slot, value) in enumerate(zip(step.inputs, inputs, strict=True))
        if value.dtype == tf.bool
    }

    def moved(part: str) -> Any:
        tensors = [getattr(truths[i], part) if i in truths else v for i, v in enumerate(inputs)]
        return notes.part(step.call([tf.convert_to_tensor(t) for t in tensors])[0])

    truth = Truth(moved("value"), moved("to_true"), moved("to_false"))
    frame.truths[step.outputs[0]] = Origin(truth, frame.program.name, origin.op)


def _count(frame: Frame, step: Step, inputs: list[Any], outputs: list[Any]) -> None:
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


def _nest(notes: Notes, frame: Frame, step: Step) -> None:
    """Keep which conditions chose a number, and look at two of them together where they are multiplied."""
    found = [frame.inside.get(slot, ()) for slot in step.inputs]
    if step.kind == "Mul" and len(found) == 2:
        for a in found[0]:
            for b in found[1]:
                notes.record_joint(frame, step, a, b)
    merged = tuple(dict.fromkeys(origin for some in found for origin in some))[:INNER]
    if merged:
        frame.inside[step.outputs[0]] = merged


def _compare(notes: Notes, frame: Frame, step: Step, inputs: list[Any]) -> list[Any] | None:
    a, b = (_real(frame, slot, value) for slot, value in zip(step.inputs, inputs, strict=True))
    if a is None or b is None:
        return None
    (value,) = step.call(inputs)
    a, b, said = notes.part(a), notes.part(b), notes.part(value)
    if step.kind in _EQUALITIES:
        truth = equal(a - b, notes.depth_at(a, b), said if step.kind == "Equal" else ~said)
        truth = truth if step.kind == "Equal" else truth.opposite()
    else:
        truth = positive((a - b) * _ORDERED[step.kind], notes.depth_at(a, b), said)
    frame.truths[step.outputs[0]] = Origin(truth, frame.program.name, step.op)
    return [value]


def _logic(notes: Notes, frame: Frame, step: Step, inputs: list[Any]) -> list[Any] | None:
    truths = [frame.truths[slot].truth if slot in frame.truths else known(notes.part(value))
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
    frame.truths[step.outputs[0]] = Origin(truth, frame.program.name, step.op)
    return step.call(inputs)


def _cast(notes: Notes, frame: Frame, step: Step, inputs: list[Any]) -> list[Any] | None:
    (slot,), (out,) = step.inputs, step.outputs
    origin, count = frame.truths.get(slot), frame.counts.get(slot)
    if origin is None and inputs[0].dtype == tf.bool:
        origin = Origin(known(notes.part(inputs[0])), frame.program.name, step.op)
    if origin is not None:
        notes.record(frame, slot, origin)
        frame.inside[out] = (origin,)
        count = soft(origin.truth) if notes.only is not None else None
    if count is None:
        return None
    (value,) = step.call(inputs)
    if value.dtype == tf.float64:
        return [with_slope(value, count)]
    frame.counts[out] = count
    return [value]


def _select(notes: Notes, frame: Frame, step: Step, inputs: list[Any]) -> list[Any] | None:
    chooser, *branches = step.inputs
    origin = frame.truths.get(chooser) or Origin(known(notes.part(inputs[0])), frame.program.name, step.op)
    outputs = step.call(inputs)
    if outputs[0].dtype == tf.bool:
        p, q = (frame.truths[s].truth if s in frame.truths else known(notes.part(v))
                for s, v in zip(branches, inputs[1:], strict=True))  # fmt: skip
        truth = origin.truth.both(p).either(origin.truth.opposite().both(q))
        frame.truths[step.outputs[0]] = Origin(truth, frame.program.name, step.op)
        return outputs
    notes.record(frame, chooser, origin)
    negated = Origin(origin.truth.opposite(), origin.graph, origin.op)
    for side, slot in zip((origin, negated), branches, strict=True):
        for inner in frame.inside.get(slot, ()):
            notes.record_joint(frame, step, side, inner, second_only=True)
    merged = (origin, *(inner for slot in branches for inner in frame.inside.get(slot, ())))
    frame.inside[step.outputs[0]] = merged[:INNER]
    return outputs


def _stairs(notes: Notes, frame: Frame, step: Step, inputs: list[Any]) -> list[Any] | None:
    if inputs[0].dtype != tf.float64:
        return None
    (value,) = step.call(inputs)
    notes.record_margin(frame, step, inputs[0] - 0.5)
    return [with_slope(value, inputs[0])]


def _bend(notes: Notes, frame: Frame, step: Step, inputs: list[Any]) -> list[Any] | None:
    number = inputs[_BENDS[step.kind]]
    if number.dtype != tf.float64:
        return None
    notes.record_margin(frame, step, number)
    if step.kind.startswith("Relu6"):
        notes.record_margin(frame, step, number - 6.0, "6")
    if step.kind == "Sign":
        (value,) = step.call(inputs)
        return [with_slope(value, number / (1.0 + tf.abs(number)))]
    return None


def _larger(notes: Notes, frame: Frame, step: Step, inputs: list[Any]) -> list[Any] | None:
    if inputs[0].dtype == tf.float64:
        notes.record_margin(frame, step, inputs[0] - inputs[1])
    return None


def _clip(notes: Notes, frame: Frame, step: Step, inputs: list[Any]) -> list[Any] | None:
    if inputs[0].dtype == tf.float64:
        notes.record_margin(frame, step, inputs[0] - inputs[1], "low")
        notes.record_margin(frame, step, inputs[0] - inputs[2], "high")
    return None


def _arg(notes: Notes, frame: Frame, step: Step, inputs: list[Any]) -> list[Any] | None:
    numbers = inputs[0]
    if numbers.dtype != tf.float64:
        return None
    outputs = step.call(inputs)
    rows = numbers if step.kind == "ArgMax" else -numbers
    axis = int(inputs[1])
    rows = tf.experimental.numpy.moveaxis(rows, axis, -1)
    if rows.shape[-1] and rows.shape[-1] > 1:
        notes.record_margin(frame, step, rows[..., 0] - tf.reduce_max(rows[..., 1:], -1))
    if notes.only is None:
        return outputs
    places = tf.reduce_sum(tf.nn.softmax(rows) * tf.range(rows.shape[-1], dtype=tf.float64), -1)
    frame.counts[step.outputs[0]] = with_slope(as_number(outputs[0]), places)
    return outputs


def _order(notes: Notes, frame: Frame, step: Step, inputs: list[Any]) -> list[Any] | None:
    numbers = inputs[0]
    if numbers.dtype == tf.float64 and numbers.shape[-1] and numbers.shape[-1] > 1:
        notes.record_margin(frame, step, numbers[..., 0] - numbers[..., 1])
    return None


def _real(frame: Frame, slot: int, value: Any) -> Any:
    """Return an operand as a real number with its slope, None for what is no number."""
    if slot in frame.counts:
        return frame.counts[slot]
    if value.dtype == tf.bool or not (value.dtype.is_integer or value.dtype == tf.float64):
        return None
    return as_number(value)


Handler = Callable[[Notes, Frame, Step, list[Any]], "list[Any] | None"]
HANDLERS: Mapping[str, Handler] = {
    **dict.fromkeys((*_ORDERED, *_EQUALITIES), _compare),
    **dict.fromkeys(_LOGIC, _logic),
    **dict.fromkeys(("Select", "SelectV2"), _select),
    **dict.fromkeys(_STAIRS, _stairs),
    **dict.fromkeys(_BENDS, _bend),
    **dict.fromkeys(("Maximum", "Minimum"), _larger),
    **dict.fromkeys(("ArgMax", "ArgMin"), _arg),
    **dict.fromkeys(("TopKV2", "XlaSort"), _order),
    "ClipByValue": _clip,
    "Cast": _cast,
}
