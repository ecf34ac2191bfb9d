# SPDX-License-Identifier: Apache-2.0
"""Rewrite a traced graph so that everything in it is computed in float64.

Where an op refuses float64 tensors (float32 constants, variables, casts), the same code can
still be run in float64: its graph is traced in the op's own dtype and every floating type in
it is replaced, function bodies and constants included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from gradcheck.backend.tensorflow.tracing import Straight

_LOW = {types_pb2.DT_FLOAT, types_pb2.DT_HALF, types_pb2.DT_BFLOAT16}
_COMPLEX = types_pb2.DT_COMPLEX64
_REFUSED_OPS = {"Bitcast", "PyFunc", "EagerPyFunc", "PyFuncStateless"}
_SUFFIX = "__float64"


class CannotRewrite(Exception):
    """Report that a graph has an op whose meaning depends on the floating type."""


@dataclass(frozen=True, slots=True)
class Float64Graph:
    """Hold a graph in float64, with the names of its flat inputs and outputs; the last inputs are captured."""

    graph: Any
    inputs: tuple[Any, ...]
    outputs: tuple[str, ...]
    captured: tuple[Any, ...]

    def part(self, outputs: slice) -> Callable[[Sequence[Any]], list[Any]]:
        """Return some of the outputs as a function of the first inputs: as many as these outputs need."""
        wanted = list(self.outputs[outputs])
        if not wanted:
            return lambda values: []
        names = _needed(self.graph, wanted)
        used = [i for i, spec in enumerate(self.inputs) if _node(spec.name) in names]
        names -= {_node(spec.name) for spec in self.inputs}
        graph = type(self.graph)(versions=self.graph.versions, library=self.graph.library)
        graph.node.extend(node for node in self.graph.node if node.name in names)

        def imported(*tensors: Any) -> Any:
            mapped = {self.inputs[i].name: tensor for i, tensor in zip(used, tensors, strict=True)}
            return tf.graph_util.import_graph_def(graph, input_map=mapped, return_elements=wanted, name="")

        specs = [tf.TensorSpec(self.inputs[i].shape, self.inputs[i].dtype) for i in used]
        call = Straight(tf.compat.v1.wrap_function(imported, specs))
        explicit = len(self.inputs) - len(self.captured)
        return lambda values: call([values[i] if i < explicit else self.captured[i - explicit] for i in used])


def to_float64(concrete: Any, variables: Sequence[tuple[Any, Any]]) -> Float64Graph:
    """Return the graph of a concrete function rewritten to float64.

    `variables` pairs each tf.Variable with the float64 one that takes its place.  Raises
    CannotRewrite.
    """
    graph = float64_graph(concrete.graph.as_graph_def())
    arguments = {_node(t.name) for t in concrete.inputs}
    for node in graph.node:
        # What waits for an argument, or is to be where it is, need not.
        node.input[:] = [i for i in node.input if i[0] != "^" or _node(i) not in arguments]
        node.attr.pop("_class", None)
    inputs = tuple(tf.TensorSpec(t.shape, wide_dtype(t.dtype), t.name) for t in concrete.inputs)
    captured = tuple(_captured(tensor, variables) for tensor in concrete.captured_inputs)
    return Float64Graph(graph, inputs, tuple(t.name for t in concrete.outputs), captured)


def _needed(graph: Any, outputs: Sequence[str]) -> set[str]:
    """Return the names of the nodes that outputs depend on."""
    inputs = {node.name: node.input for node in graph.node}
    found: set[str] = set()
    left = [_node(name) for name in outputs]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += [_node(i) for i in inputs[name]]
    return found


def _node(tensor: str) -> str:
    """Return the name of the node that an input or output of a GraphDef names."""
    return tensor.removeprefix("^").split(":")[0]


def float64_graph(graph: Any) -> Any:
    """Return a copy of a GraphDef with every floating type replaced by float64."""
    copy = type(graph)()
    copy.CopyFrom(graph)
    library = {function.signature.name for function in copy.library.function}
    for node in copy.node:
        _promote_node(node, library)
    for function in copy.library.function:
        function.signature.name += _SUFFIX
        for argument in [*function.signature.input_arg, *function.signature.output_arg]:
            argument.type = _promoted_type(argument.type)
        for node in function.node_def:
            _promote_node(node, library)
    for gradient in copy.library.gradient:
        gradient.function_name += _SUFFIX
        gradient.gradient_func += _SUFFIX
    return copy


def _promoted_type(kind: int) -> int:
    if kind in _LOW:
        return int(types_pb2.DT_DOUBLE)
    return int(types_pb2.DT_COMPLEX128) if kind == _COMPLEX else kind


def _promote_node(node: Any, library: set[str]) -> None:
    if node.op in _REFUSED_OPS:
        raise CannotRewrite(f"{node.op} depends on the floating type")
    if "Random" in node.op and any(a.type in _LOW for a in node.attr.values() if a.WhichOneof("value") == "type"):
        raise CannotRewrite("random numbers differ between floating types")
    if node.op in library:
        node.op += _SUFFIX
    for attribute in node.attr.values():
        kind = attribute.WhichOneof("value")
        if kind == "type":
            attribute.type = _promoted_type(attribute.type)
        elif kind == "func" and attribute.func.name in library:
            attribute.func.name += _SUFFIX
        elif kind == "list":
            for i, entry in enumerate(attribute.list.type):
                attribute.list.type[i] = _promoted_type(entry)
            for function in attribute.list.func:
                if function.name in library:
                    function.name += _SUFFIX
        elif kind == "tensor" and _promoted_type(attribute.tensor.dtype) != attribute.tensor.dtype:
            wide = np.complex128 if attribute.tensor.dtype == _COMPLEX else np.float64
            attribute.tensor.CopyFrom(tf.make_tensor_proto(tf.make_ndarray(attribute.tensor).astype(wide)))


def _captured(tensor: Any, variables: Sequence[tuple[Any, Any]]) -> Any:
    if tensor.dtype == tf.resource:
        for variable, twin in variables:
            if variable.handle is tensor:
                return twin.handle
        return tensor
    if tensor.dtype in (tf.float32, tf.float16, tf.bfloat16):
        return tf.cast(tensor, tf.float64)
    return tf.cast(tensor, tf.complex128) if tensor.dtype == tf.complex64 else tensor


def wide_dtype(dtype: Any) -> Any:
    """Return the float64 or complex128 counterpart of a floating dtype, others as they are."""
    dtype = tf.as_dtype(dtype)
    if dtype.is_complex:
        return tf.complex128
    return tf.float64 if dtype.is_floating else dtype
