# SPDX-License-Identifier: Apache-2.0
"""A forward in float64 as a graph that can be imported again, at any point of the op's coordinates."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from gradcheck.backend.tensorflow.float64_graph import to_float64
from gradcheck.backend.tensorflow.op_by_op import place_of
from gradcheck.backend.tensorflow.runs import Gradients
from gradcheck.backend.tensorflow.vector_op import Layout, twin_variables
from gradcheck.numerics.arrays import Array

# Ops that pass on what they take, take nothing, or let no gradient through.
SILENT = frozenset({"Identity", "NoOp", "Const", "Placeholder", "ReadVariableOp", "StopGradient", "Shape"})


class TooLarge(Exception):
    """Say that a graph is too large to be taken apart or switched."""


class WideForward:
    """Hold the forward as a graph in float64, and where the user wrote each of its ops.

    Raises what the tracing raises, or CannotRewrite.
    """

    def __init__(self, gradients: Gradients, layout: Layout, variables: Sequence[Any]) -> None:
        """Trace the forward and rewrite it."""
        concrete = gradients.traced_forward(layout.values)
        self.layout = layout
        self.twins = twin_variables(variables)
        promoted = to_float64(concrete, self.twins)
        ops = concrete.graph.get_operations()
        self.places = {op.name: place_of(op) for op in ops}
        single = [op for op in ops if len(op.outputs) == 1 and op.outputs[0].dtype.is_floating]
        known = [op for op in single if op.outputs[0].shape.is_fully_defined()]
        self.shapes = {op.name: tuple(op.outputs[0].shape) for op in known}
        self.names = [spec.name for spec in promoted.inputs]
        self.graph, self.captured, self.outputs = promoted.graph, promoted.captured, promoted.outputs
        explicit = len(promoted.inputs) - len(self.captured)
        self.specs = [tf.TensorSpec(spec.shape, spec.dtype) for spec in promoted.inputs[:explicit]]

    def outputs_of(
        self, tensors: Sequence[Any], graph: Any = None, outputs: Sequence[str] = (), more: dict[str, Any] | None = None
    ) -> list[Any]:
        """Import the graph, or a changed one with its `outputs` and further inputs; return its floating outputs."""
        # What the forward has captured are tensors and handles of no graph.
        captured = [tf.compat.v1.get_default_graph().capture(tensor) for tensor in self.captured]
        mapped = dict(zip(self.names, [*tensors, *captured], strict=True)) | (more or {})
        found = tf.graph_util.import_graph_def(
            graph or self.graph, input_map=mapped, return_elements=list(outputs or self.outputs), name="g"
        )
        return [t for t in found if t.dtype == tf.float64]

    def upstream_of(self, cotangent: Array) -> list[Any]:
        """Return the upstreams of a packed cotangent."""
        return [tf.constant(part, tf.float64) for part in self.layout.outputs.unpack(cotangent)]

    def tensors_at(self, x: Array) -> list[Any]:
        """Return the tensors of a point, after the variables have its values."""
        parts = self.layout.inputs.unpack(x)
        tensors = [tf.constant(value) for value in self.layout.values]
        tensors = [tf.cast(t, tf.float64) if t.dtype.is_floating else t for t in tensors]
        for position, part in zip(self.layout.sources, parts, strict=False):
            tensors[position] = tf.constant(part, tf.float64)
        twins = {variable.ref(): twin for variable, twin in self.twins}
        for variable, part in zip(self.layout.variables, parts[len(self.layout.sources) :], strict=True):
            twins[variable.ref()].assign(part)
        return tensors

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Put the variables back after the block."""
        before = [twin.numpy() for _, twin in self.twins]
        try:
            yield
        finally:
            for (_, twin), value in zip(self.twins, before, strict=True):
                twin.assign(value)


def floating(tensors: Sequence[Any]) -> list[Any]:
    """Return the tensors of float64."""
    return [t for t in tensors if t.dtype == tf.float64]


# An input of an op: the name of the op, and which of its inputs that differ.
Use = tuple[str, int]


def use_name(name: str, number: int) -> str:
    """Return the name of the tensor that stands for one use of a value by an op."""
    return f"{name}/use{number}"


def with_uses(graph: Any) -> Any:
    """Return a graph in which every floating input of an op is a tensor of its own, so that all have gradients at once.

    An input that an op takes twice, as x * x does, is one use.
    """
    found = tf.compat.v1.GraphDef()
    found.CopyFrom(graph)
    with tf.Graph().as_default() as whole:
        tf.graph_util.import_graph_def(graph, name="")
    for node in list(found.node):
        names = list(node.input)
        distinct: dict[str, str] = {}
        for place, tensor in enumerate(whole.get_operation_by_name(node.name).inputs):
            if tensor.dtype != tf.float64:
                continue
            if tensor.name not in distinct:
                distinct[tensor.name] = use_name(node.name, len(distinct))
                use = found.node.add(name=distinct[tensor.name], op="Identity", input=[names[place]])
                use.attr["T"].type = tf.float64.as_datatype_enum
            node.input[place] = distinct[tensor.name]
    return found
