"""Rewrite a traced graph so that everything in it is computed in float64.

Where an op refuses float64 tensors (float32 constants, variables, casts), the same code can
still be run in float64: its graph is traced in the op's own dtype and every floating type in
it is replaced, function bodies and constants included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2

_LOW = {types_pb2.DT_FLOAT, types_pb2.DT_HALF, types_pb2.DT_BFLOAT16}
_COMPLEX = types_pb2.DT_COMPLEX64
_REFUSED_OPS = {"Bitcast", "PyFunc", "EagerPyFunc", "PyFuncStateless"}
_SUFFIX = "__float64"


class CannotPromote(Exception):
    """Report that a graph has an op whose meaning depends on the floating type."""


def promote(concrete: Any, variables: Sequence[tuple[Any, Any]]) -> Callable[[Sequence[Any]], list[Any]]:
    """Return the concrete function computed in float64, as a function of its flat inputs.

    `variables` pairs each tf.Variable with the float64 one that takes its place.  Raises
    CannotPromote.
    """
    graph = promoted_graph(concrete.graph.as_graph_def())
    captured = [_captured(tensor, variables) for tensor in concrete.captured_inputs]
    imported = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), [])
    inputs, outputs = (
        [imported.graph.as_graph_element(tensor.name) for tensor in tensors]
        for tensors in (concrete.inputs, concrete.outputs)
    )
    # Without a signature every call is first bound in vain, and its tensors are printed for the message.
    signature: Any = (tuple(tf.TensorSpec(None, tensor.dtype) for tensor in inputs), {})
    pruned = imported.prune(inputs, outputs, input_signature=signature)

    def call(values: Sequence[Any]) -> list[Any]:
        result = pruned(*values, *captured)
        return list(result) if isinstance(result, (list, tuple)) else [result]

    return call


def promoted_graph(graph: Any) -> Any:
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
        raise CannotPromote(f"{node.op} depends on the floating type")
    if "Random" in node.op and any(a.type in _LOW for a in node.attr.values() if a.WhichOneof("value") == "type"):
        raise CannotPromote("random numbers differ between floating types")
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
