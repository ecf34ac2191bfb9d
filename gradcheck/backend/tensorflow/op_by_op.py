# SPDX-License-Identifier: Apache-2.0
"""Evaluate a traced function op by op in float64, so that what decides its branches can be seen and differentiated.

Functions, conditionals and loops are entered: what runs is what the values choose.
"""

from __future__ import annotations

import functools
import heapq
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

from gradcheck.backend.tensorflow.float64_graph import wide_dtype
from gradcheck.text import innermost

# A loop with more steps is not followed.
MOST_STEPS = 100
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
CONDITIONALS = ("If", "StatelessIf")
LOOPS = ("While", "StatelessWhile")
CASES = ("Case", "StatelessCase")
_HOST = ("PyFunc", "PyFuncStateless", "EagerPyFunc")
_SILENT = ("NoOp", "PrintV2", "Print", "Assert", "CheckNumerics", "CheckNumericsV2")
_PROMOTED = (tf.float32, tf.float16, tf.bfloat16, tf.complex64)


class CannotFollow(Exception):
    """Report an op that cannot be run by itself, or a loop that is too long."""


@dataclass(slots=True)
class Box:
    """Hold the value of a variable while a graph is followed; the variable itself stays as it is."""

    handle: Any
    value: Any = None


@dataclass(frozen=True, slots=True)
class Step:
    """Hold one op: where its inputs and outputs lie, and how it is run."""

    op: Any
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    call: Callable[[list[Any]], list[Any]]


@dataclass(slots=True)
class Program:
    """Hold the steps of one graph, and those by the name of their op; `size` is the number of its tensors."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    steps: list[Step] = field(default_factory=list)
    size: int = 0
    made: dict[str, Step] = field(default_factory=dict)
    _needed: dict[tuple[str, ...], list[Step]] = field(default_factory=dict)

    def needed(self, names: Sequence[str]) -> list[Step] | None:
        """Return the steps that some ops depend on, these included; None if only all of them together mean anything."""
        key = tuple(names)
        if any(name not in self.made for name in names) or any(s.kind.startswith("Assign") for s in self.steps):
            return None
        if key not in self._needed:
            producers = {slot: step for step in self.steps for slot in step.outputs}
            left, wanted = [self.made[name] for name in names], set()
            while left:
                step = left.pop()
                if id(step) not in wanted:
                    wanted.add(id(step))
                    left += [producers[slot] for slot in step.inputs if slot in producers]
            self._needed[key] = [step for step in self.steps if id(step) in wanted]
        return self._needed[key]


def program_of(graph: Any, name: str) -> Program:
    """Return the steps of a FuncGraph."""
    index: dict[int, int] = {}

    def slot(tensor: Any) -> int:
        return index.setdefault(id(tensor), len(index))

    program = Program(name, tuple(slot(t) for t in graph.inputs), ())
    given = {id(t) for t in graph.inputs}
    for op in _in_order(graph.get_operations()):
        if op.type in ("Placeholder", "_Arg") and id(op.outputs[0]) in given:
            continue
        inputs, outputs = tuple(slot(t) for t in op.inputs), tuple(slot(t) for t in op.outputs)
        program.steps.append(Step(op, op.type, inputs, outputs, _runner(op)))
    program.made = {step.op.name: step for step in program.steps}
    program.outputs = tuple(slot(t) for t in graph.outputs)
    program.size = len(index)
    return program


def _in_order(ops: Sequence[Any]) -> list[Any]:
    """Return ops so that each comes after those that it needs, else as they were made.

    The gradient of a loop makes lists after the loop that fills them.  Raises CannotFollow for a cycle.
    """
    order = TopologicalSorter({op: [*(t.op for t in op.inputs), *op.control_inputs] for op in ops})
    place = {op: number for number, op in enumerate(ops)}
    found: list[Any] = []
    try:
        order.prepare()
    except CycleError:
        raise CannotFollow("the graph has a loop of TensorFlow 1 in it") from None
    ready = [place[op] for op in order.get_ready()]
    heapq.heapify(ready)
    while ready:
        op = ops[heapq.heappop(ready)]
        found.append(op)
        order.done(op)
        for next_op in order.get_ready():
            heapq.heappush(ready, place[next_op])
    return found


def function_graph(graph: Any, name: str) -> Any:
    """Return the graph of a function that ops of `graph` call."""
    while graph is not None:
        try:
            function = graph._get_function(name)
        except (AttributeError, TypeError):
            function = None
        if function is not None:
            inner = getattr(function, "graph", None)
            return inner if inner is not None else function_def_to_graph(function.function_def)
        graph = getattr(graph, "outer_graph", None)
    raise CannotFollow(f"the function {name} is not known")


def place_of(op: Any) -> tuple[str, int]:
    """Return the innermost line of the user's code that made an op, or nothing."""
    try:
        frames = [(frame.filename, frame.lineno) for frame in op.traceback or ()]
    except (TypeError, AttributeError):
        return "", 0
    return innermost(frames) or ("", 0)


def wide_tensor(value: Any) -> Any:
    """Return a tensor in float64 or complex128 if it is a coarser number, others as they are."""
    tensor = tf.convert_to_tensor(value)
    return tf.cast(tensor, wide_dtype(tensor.dtype)) if tensor.dtype in _PROMOTED else tensor


def _runner(op: Any) -> Callable[[list[Any]], list[Any]]:
    """Return how an op is run on a list of eager tensors."""
    kind = op.type
    if kind == "Const":
        constant = wide_tensor(tf.make_ndarray(op.get_attr("value")))
        return lambda inputs: [constant]
    if kind in _SILENT:
        return lambda inputs: inputs[: len(op.outputs)]
    if kind in (*CALLS, *CONDITIONALS, *LOOPS, *CASES):
        return _entered
    return functools.partial(_on_host, op) if kind in _HOST else _Raw(op)


def _entered(inputs: list[Any]) -> list[Any]:
    raise CannotFollow("functions are entered, not run")


def _on_host(op: Any, inputs: list[Any]) -> list[Any]:
    raise CannotFollow(f"{op.type} is Python code")


class _Raw:
    """Run an op by its raw function, in float64; in its own dtypes where there is no kernel for float64."""

    def __init__(self, op: Any) -> None:
        self._op, self._own = op, False
        self._function: Any = getattr(tf.raw_ops, op.type, None)
        self._names: list[tuple[str, int | None]] = []
        self._attributes: dict[str, Any] = {}

    def __call__(self, inputs: list[Any]) -> list[Any]:
        if self._function is None:
            raise CannotFollow(f"{self._op.type} is no op of TensorFlow's own")
        if not self._names and not self._attributes:
            self._prepare()
        if not self._own:
            try:
                return self._call(inputs, promoted=True)
            except (tf.errors.OpError, TypeError, ValueError):
                self._own = True
        return [wide_tensor(t) if _is_number(t) else t for t in self._call(self._narrowed(inputs), promoted=False)]

    def _narrowed(self, inputs: list[Any]) -> list[Any]:
        pairs = zip(inputs, self._op.inputs, strict=True)
        return [tf.cast(t, o.dtype) if _is_number(t) and t.dtype != o.dtype else t for t, o in pairs]

    def _prepare(self) -> None:
        op, definition = self._op, self._op.op_def
        known = set(inspect.signature(self._function).parameters)
        # Some arguments have another name in Python: reduction_indices is axis.
        of_python = [n for n in inspect.signature(self._function).parameters if n != "name"]
        attributes = {attribute.name for attribute in definition.attr}
        names = {argument.name for argument in definition.input_arg}
        renamed = iter([n for n in of_python if n not in attributes and n not in names])
        for argument in definition.input_arg:
            count = None
            if argument.number_attr:
                count = int(op.get_attr(argument.number_attr))
            elif argument.type_list_attr:
                count = len(op.get_attr(argument.type_list_attr))
            name = argument.name if argument.name in known else next(renamed)
            self._names.append((name, count))
        counts = {argument.number_attr for argument in definition.input_arg}
        for attribute in definition.attr:
            name = attribute.name
            if name not in known and attribute.type not in ("type", "list(type)") and name not in counts:
                # Some attributes too: squeeze_dims is axis.
                name = next(renamed, "")
            if name in known:
                self._attributes[name] = _attribute(op.get_attr(attribute.name), attribute.type)

    def _call(self, inputs: list[Any], promoted: bool) -> list[Any]:
        given, left = {}, list(inputs)
        for name, count in self._names:
            if count is None:
                given[name] = left.pop(0)
            else:
                given[name], left = left[:count], left[count:]
        for name, value in self._attributes.items():
            given[name] = _promoted(value) if promoted else value
        found = self._function(**given)
        if found is None or isinstance(found, tf.Operation):
            return []
        return list(tf.nest.flatten(found))


def _attribute(value: Any, kind: str) -> Any:
    if kind == "shape" and not isinstance(value, tf.TensorShape):
        return tf.TensorShape(value)
    if kind == "list(shape)":
        return [tf.TensorShape(shape) for shape in value]
    return value


def _promoted(value: Any) -> Any:
    if isinstance(value, tf.DType):
        return wide_dtype(value)
    if isinstance(value, list) and value and isinstance(value[0], tf.DType):
        return [wide_dtype(item) for item in value]
    return value


def _is_number(tensor: Any) -> bool:
    return bool(tf.is_tensor(tensor) and (tensor.dtype.is_floating or tensor.dtype.is_complex))


def boxed(handle: Any, variables: Sequence[tuple[Any, Any]]) -> Box:
    """Return the box of a captured resource: with the value given for it, its own otherwise."""
    for variable, value in variables:
        if variable.handle is handle:
            return Box(handle, value)
    return Box(handle)


def on_box(step: Step, box: Box, rest: list[Any]) -> list[Any] | None:
    """Run an op on a variable, of which `box` has the value; None if the op needs the resource itself."""
    if box.value is None and step.kind == "ReadVariableOp":
        read = tf.raw_ops.ReadVariableOp(resource=box.handle, dtype=step.op.get_attr("dtype"))
        box.value = wide_tensor(read)
    if box.value is None:
        return None
    if step.kind == "ReadVariableOp":
        return [box.value]
    if step.kind == "ResourceGather":
        return [tf.gather(box.value, rest[0])]
    if step.kind == "VariableShape":
        return [tf.shape(box.value)]
    assigned = {"AssignVariableOp": lambda: rest[0], "AssignAddVariableOp": lambda: box.value + rest[0],
                "AssignSubVariableOp": lambda: box.value - rest[0]}.get(step.kind)  # fmt: skip
    if assigned is None:
        raise CannotFollow(f"{step.kind} changes a variable")
    box.value = assigned()
    return []


def as_number(value: Any) -> Any:
    """Return a tensor of real numbers in float64."""
    return value if value.dtype == tf.float64 else tf.cast(value, tf.float64)


def as_bool(value: Any) -> bool:
    """Return whether a predicate holds."""
    return bool(np.all(value.numpy()))
