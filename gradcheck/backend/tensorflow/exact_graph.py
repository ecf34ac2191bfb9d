# SPDX-License-Identifier: Apache-2.0
"""Follow a traced function in ball arithmetic: ops by what they make of balls, functions and loops as they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.backend.tensorflow.exact_lists import LISTS, Items
from gradcheck.backend.tensorflow.op_by_op import (
    CALLS,
    CASES,
    CONDITIONALS,
    LOOPS,
    Box,
    CannotFollow,
    Program,
    Step,
    boxed,
    function_graph,
    place_of,
    program_of,
)
from gradcheck.exact.balls import (
    Dual,
    Operand,
    Undecided,
    Unknown,
    dual,
    floats,
    full,
    lift,
    objects,
    set_precision,
)
from gradcheck.exact.complex_numbers import COMPLEX_KINDS
from gradcheck.exact.constants import widened
from gradcheck.exact.decompositions import SIGNED
from gradcheck.exact.kinds import KINDS
from gradcheck.text import shortened

# A loop with more steps, and a graph with more ops, is not followed.
MOST_STEPS = 1000
MOST_OPS = 20_000
# Balls of all values and slopes of one run: some five seconds.
MOST_BALLS = 10_000_000
# Characters of a reason.
MOST_WORDS = 200
_SAME = frozenset({"Identity", "IdentityN", "Snapshot", "PreventGradient", "CheckNumerics", "CheckNumericsV2",
                   "EnsureShape", "PlaceholderWithDefault"})  # fmt: skip
_SILENT = frozenset({"NoOp", "Assert", "PrintV2", "Print"})
_ENTERED = frozenset((*CALLS, *CONDITIONALS, *LOOPS, *CASES))
_PRODUCTS = frozenset({"MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", "Conv2D", "MatrixInverse",
                       "MatrixSolve", "MatrixTriangularSolve", "Cholesky", "MatrixDeterminant", "LogMatrixDeterminant",
                       "Conv2DBackpropInput", "Conv2DBackpropFilter"})  # fmt: skip
_ASSIGNED = {"AssignVariableOp": None, "AssignAddVariableOp": "AddV2", "AssignSubVariableOp": "Sub"}
# Ops that move numbers and leave others out or fill in zeros: the places of what they move among their inputs.
_MOVED: dict[str, tuple[int, ...] | None] = {
    **dict.fromkeys(
        ("Reshape", "Transpose", "ExpandDims", "Squeeze", "Slice", "StridedSlice", "GatherV2", "Gather", "GatherNd",
         "Unpack", "SplitV", "Tile", "BroadcastTo", "ReverseV2", "Roll", "Pad", "MirrorPad", "MatrixDiag",
         "MatrixDiagPart", "MatrixBandPart", "Diag", "DiagPart", "DynamicPartition", "ReverseSequence",
         "SpaceToBatchND", "BatchToSpaceND", "SpaceToDepth", "DepthToSpace", "ExtractImagePatches"),
        (0,),
    ),
    **dict.fromkeys(("Pack", "ConcatV2", "Concat", "DynamicStitch", "ParallelDynamicStitch"), None),
    "Split": (1,),
    "PadV2": (0, 2),
    "MatrixDiagPartV2": (0, 2),
    "MatrixDiagPartV3": (0, 2),
    "MatrixDiagV2": (0, 4),
    "MatrixDiagV3": (0, 4),
    "MatrixSetDiag": (0, 1),
    "MatrixSetDiagV2": (0, 1),
    "MatrixSetDiagV3": (0, 1),
    "OneHot": (2, 3),
    "StridedSliceGrad": (4,),
    "TensorStridedSliceUpdate": (0, 4),
}  # fmt: skip

FOLLOWED = frozenset({*KINDS, *COMPLEX_KINDS, *SIGNED, *_MOVED, *_SAME, *_SILENT, *_ENTERED, "StopGradient",
                      "Const", "Shape", "ReadVariableOp", "ShapeN", "Size", "Rank", "ResourceGather", *_ASSIGNED,
                      *LISTS})  # fmt: skip


Value = Operand | Box | Items


class NotExact(Exception):
    """Say which op keeps a graph from being followed exactly: its kind, why, the user's line, and if only at a tie."""

    def __init__(self, kind: str, why: str, place: tuple[str, int], is_tie: bool = False) -> None:
        super().__init__(why)
        self.kind, self.why, self.place, self.is_tie = kind, why, place, is_tie


@dataclass(slots=True)
class ExactGraph:
    """Follow one traced function at any point; `stops` says whether tf.stop_gradient stops slopes."""

    concrete: Any
    variables: tuple[Any, ...]
    stops: bool = True
    _programs: dict[str, Program] = field(default_factory=dict)
    _constant: Callable[[Any], Dual] = lift
    _balls: int = 0

    def at(self, values: Sequence[Operand], variables: Sequence[Dual], rounded: bool = False) -> list[Operand]:
        """Return the outputs; `rounded` takes every constant as a ball of the numbers it may stand for.

        Raises NotExact.
        """
        set_precision()
        self._constant, self._balls = widened if rounded else lift, 0
        pairs = list(zip(self.variables, variables, strict=True))
        captured = [self._captured(tensor, pairs) for tensor in self.concrete.captured_inputs]
        return self._run(self._program(self.concrete.graph, ""), [*values, *captured])

    def _captured(self, tensor: Any, pairs: list[tuple[Any, Dual]]) -> Value:
        if tensor.dtype == tf.resource:
            return boxed(tensor, pairs)
        return self._given(np.asarray(tensor)) if tensor.dtype != tf.variant else Items()

    def _given(self, array: Any) -> Operand:
        """Return a constant as balls if it is a real or a complex number."""
        return self._constant(array) if _is_number(array.dtype) else array

    def _program(self, graph: Any, name: str) -> Program:
        if name not in self._programs:
            try:
                self._programs[name] = program_of(graph, name)
            except CannotFollow as error:
                raise NotExact("", str(error), ("", 0)) from None
            if sum(len(program.steps) for program in self._programs.values()) > MOST_OPS:
                raise NotExact("", "the graph is too large", ("", 0))
        return self._programs[name]

    def _run(self, program: Program, inputs: Sequence[Value]) -> list[Any]:
        values: list[Any] = [None] * program.size
        for slot, value in zip(program.inputs, inputs, strict=True):
            values[slot] = value
        for step in program.steps:
            try:
                outputs = self._step(step, [values[i] for i in step.inputs])
            except (Unknown, Undecided, CannotFollow) as error:
                raise NotExact(step.kind, str(error), place_of(step.op), isinstance(error, Undecided)) from error
            except (ValueError, TypeError, LookupError, ArithmeticError) as error:
                # A form of an op that nobody has thought of is told as what it is, not as a fault of the gradient.
                why = f"{step.kind} in this form is not known exactly ({type(error).__name__}: {error})"
                raise NotExact(step.kind, shortened(why, MOST_WORDS), place_of(step.op)) from error
            for slot, value in zip(step.outputs, outputs, strict=False):
                values[slot] = value
                self._count(step, value)
        return [values[slot] for slot in program.outputs]

    def _count(self, step: Step, value: Value) -> None:
        """Raise NotExact where a run gets longer than anybody waits for."""
        if isinstance(value, Dual):
            self._balls += value.value.size * (1 + len(value.slopes))
        if self._balls > MOST_BALLS:
            raise NotExact(step.kind, "the op is too large", place_of(step.op))

    def _count_products(self, step: Step, inputs: list[Any]) -> None:
        """Count what a product of matrices or a convolution multiplies, before it does."""
        if step.kind not in _PRODUCTS:
            return
        sizes = [value.value.size for value in inputs if isinstance(value, Dual)]
        slopes = max(len(value.slopes) for value in inputs if isinstance(value, Dual))
        last = [value.shape[-1] for value in inputs if isinstance(value, Dual) and value.shape]
        self._balls += max(sizes) * max(last, default=1) * (1 + 2 * slopes)
        if self._balls > MOST_BALLS:
            raise Unknown("the op is too large")

    def _step(self, step: Step, inputs: list[Any]) -> Sequence[Any]:
        kind = step.kind
        if kind in _ENTERED:
            return self._enter(step, inputs)
        if kind in _SAME:
            return inputs
        if kind in _SILENT:
            return []
        if any(isinstance(value, Box) for value in inputs):
            return self._on_variable(step, inputs)
        if kind.startswith("TensorList") or kind == "EmptyTensorList" or any(isinstance(v, Items) for v in inputs):
            return self._on_list(step, inputs)
        if kind == "StopGradient":
            return [value.constant if isinstance(value, Dual) and self.stops else value for value in inputs]
        if kind in ("Shape", "ShapeN", "Size", "Rank"):
            return [_measured(kind, value, step.op) for value in inputs]
        if not any(isinstance(value, Dual) for value in inputs):
            return self._plainly(step, inputs)
        if kind in _MOVED:
            return _moved(step, inputs, _MOVED[kind])
        is_complex = any(tensor.dtype.is_complex for tensor in (*step.op.inputs, *step.op.outputs))
        kinds, of = (COMPLEX_KINDS, " of complex numbers") if is_complex else (KINDS, "")
        if kind in SIGNED and not is_complex:
            numbers = [t.numpy() for t in step.call([tf.constant(floats(value)) for value in inputs])]
            return SIGNED[kind](inputs, step.op.get_attr, numbers)
        if kind not in kinds:
            raise Unknown(f"{kind}{of} is not known exactly")
        self._count_products(step, inputs)
        return kinds[kind](inputs, step.op.get_attr)

    def _plainly(self, step: Step, inputs: list[Any]) -> list[Operand]:
        """Run an op on whole numbers, or on none, as TensorFlow does."""
        if step.kind == "Const":
            return [self._given(tf.make_ndarray(step.op.get_attr("value")))]
        outputs = step.call([tf.constant(value) for value in inputs])
        if any(t.dtype in (tf.variant, tf.resource) for t in outputs):
            raise Unknown(f"{step.kind} is not known exactly")
        return [lift(t.numpy()) if _is_number(t.dtype) else t.numpy() for t in outputs]

    def _on_variable(self, step: Step, inputs: list[Any]) -> list[Any]:
        box, rest = inputs[0], inputs[1:]
        if box.value is None:
            read = tf.raw_ops.ReadVariableOp(resource=box.handle, dtype=_dtype_of(step.op))
            box.value = self._given(read.numpy())
        if step.kind == "ReadVariableOp":
            return [box.value]
        if step.kind == "ResourceGather":
            return [dual(box.value).map(lambda a: np.take(a, np.asarray(rest[0]), axis=0))]
        if step.kind == "VariableShape":
            return [np.array(box.value.shape, np.int32)]
        if step.kind not in _ASSIGNED:
            raise Unknown(f"{step.kind} changes a variable")
        combine = _ASSIGNED[step.kind]
        new = rest[0] if combine is None else KINDS[combine]([box.value, rest[0]], step.op.get_attr)[0]
        # As in TensorFlow no gradient comes through an assignment, and that of a variable is that of what is read.
        box.value = Dual(dual(new).value, box.value.slopes) if isinstance(box.value, Dual) else new
        return []

    def _on_list(self, step: Step, inputs: list[Any]) -> list[Any]:
        if step.kind not in LISTS:
            raise Unknown(f"{step.kind} is not known exactly")
        return LISTS[step.kind](inputs)

    def _enter(self, step: Step, inputs: list[Any]) -> list[Any]:
        op = step.op
        if step.kind in LOOPS:
            return self._loop(op, inputs)
        if step.kind in CALLS:
            return self._called(op, op.get_attr("f").name, inputs)
        chosen, rest = int(np.asarray(inputs[0])), inputs[1:]
        if step.kind in CONDITIONALS:
            return self._called(op, op.get_attr("then_branch" if chosen else "else_branch").name, rest)
        branches = op.get_attr("branches")
        return self._called(op, branches[chosen if 0 <= chosen < len(branches) else -1].name, rest)

    def _called(self, op: Any, name: str, inputs: Sequence[Value]) -> list[Any]:
        program = self._programs.get(name) or self._program(function_graph(op.graph, name), name)
        return self._run(program, inputs)

    def _loop(self, op: Any, state: list[Any]) -> list[Any]:
        condition, body = op.get_attr("cond").name, op.get_attr("body").name
        for _ in range(MOST_STEPS):
            if not bool(np.all(self._called(op, condition, state)[0])):
                return state
            state = self._called(op, body, state)
        raise Unknown(f"a loop takes more than {MOST_STEPS} steps")


def _is_number(dtype: Any) -> bool:
    kind = tf.as_dtype(dtype)
    return bool(kind.is_floating or kind.is_complex)


def _dtype_of(op: Any) -> Any:
    return op.get_attr("dtype")


def _measured(kind: str, value: Operand, op: Any) -> Any:
    dtype = op.get_attr("out_type").as_numpy_dtype if kind != "Rank" else np.int32
    shape = value.shape
    return np.array(shape if kind.startswith("Shape") else len(shape) if kind == "Rank" else np.prod(shape), dtype)


def _moved(step: Step, inputs: list[Any], places: tuple[int, ...] | None) -> list[Dual]:
    """Run an op on the places of numbers in place of the numbers, and put these where it puts their places."""
    chosen = places
    if chosen is None:
        chosen = tuple(i for i, value in enumerate(inputs) if isinstance(value, Dual))
    given, data, start = list(inputs), [], 1
    for i in chosen:
        data.append(dual(inputs[i]))
        size = int(np.prod(data[-1].shape))
        given[i] = np.arange(start, start + size).reshape(data[-1].shape)
        start += size
    found = [t.numpy() for t in step.call([tf.constant(value) for value in given])]
    count = max(len(part.slopes) for part in data)
    values = _joined([part.value for part in data])
    slopes = [_joined([p.slopes[d] if p.slopes else full(p.shape) for p in data]) for d in range(count)]
    return [Dual(objects(values[at]), tuple(objects(slope[at]) for slope in slopes)) for at in found]


def _joined(parts: list[Any]) -> Any:
    return np.concatenate([full((1,)), *(part.reshape(-1) for part in parts)])
