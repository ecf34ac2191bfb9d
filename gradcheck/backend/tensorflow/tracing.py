# SPDX-License-Identifier: Apache-2.0
"""tf.function for gradcheck's own code, which AutoGraph is not to convert, around the user's, which it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

# The context outside of all functions: in it AutoGraph converts what is called.
_OUTSIDE = tf.__internal__.autograph.control_status_ctx()

# Kept from the user's code and the recorder, which may put something else in their place.
GradientTape, _function = tf.GradientTape, tf.function

unconverted = tf.autograph.experimental.do_not_convert


def function(f: Callable[..., Any], **options: Any) -> Any:
    """Return `f` as a tf.function without converting it: conversion costs more than tracing."""

    # A function, because tf.function keeps weak references, which records with slots do not take.
    def traced(*args: Any) -> Any:
        return f(*args)

    return _function(traced, autograph=False, **options)


class Straight:
    """Call a concrete function on its flat inputs, computed as it was traced.

    For a small op, optimizing the graph and binding the arguments cost more than the op itself.
    """

    def __init__(self, concrete: Any) -> None:
        config = tf.compat.v1.ConfigProto(allow_soft_placement=tf.config.get_soft_device_placement())
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        self.concrete = concrete
        self._dtypes = [tensor.dtype for tensor in concrete.outputs]
        self._config = config.SerializeToString()

    def __call__(self, tensors: Sequence[Any]) -> list[Any]:
        """Return the flat outputs; they are not recorded on tapes."""
        concrete = self.concrete
        inputs = [*tensors, *concrete.captured_inputs]
        call = tf.raw_ops.StatefulPartitionedCall
        return list(call(args=inputs, Tout=self._dtypes, f=concrete, config_proto=self._config))


def autographed(op: Callable[..., Any]) -> Callable[..., Any]:
    """Return `op` as a tf.function of the user's would call it: through AutoGraph; as it is in eager."""
    return _converted(op) if tf.inside_function() else op


def _converted(op: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return op(*args, **kwargs)

    return tf.__internal__.autograph.tf_convert(call, _OUTSIDE)  # type: ignore[no-any-return]


def convert_ahead() -> None:
    """Have AutoGraph convert the call around every op, which it keeps for all processes forked afterwards.

    It is pure Python and runs no TensorFlow op.
    """
    _converted(tuple)()


def nodes_of(concrete: Any) -> list[Any]:
    """Return the nodes of a traced function, those of the functions it calls included."""
    graph = concrete.graph.as_graph_def()
    return [*graph.node, *(node for f in graph.library.function for node in f.node_def)]


def all_double(nodes: list[Any]) -> bool:
    """Return whether nodes compute in float64 alone, and none of them is Python code."""
    single = {tf.as_dtype(name).as_datatype_enum for name in ("float32", "float16", "bfloat16", "complex64")}
    kinds = {
        kind for node in nodes for attribute in node.attr.values() for kind in (attribute.type, *attribute.list.type)
    }
    return not kinds & single and not any("PyFunc" in node.op for node in nodes)


def constants_in(nodes: list[Any]) -> tuple[float, ...]:
    """Return the sizes of the floating numbers that nodes hold one by one: thresholds, clips and factors."""
    found: set[float] = set()
    for node in nodes:
        if node.op == "Const" and tf.as_dtype(node.attr["dtype"].type).is_floating:
            value = tf.make_ndarray(node.attr["value"].tensor)
            if value.size == 1:
                found.add(float(f"{abs(float(value.ravel()[0])):.6g}"))
    return tuple(sorted(c for c in found if 1e-2 <= c <= 12))


def halves_in(nodes: list[Any]) -> tuple[str, ...]:
    """Return the half precisions that nodes compute in."""
    kinds = {attribute.type for node in nodes for attribute in node.attr.values()}
    return tuple(name for name in ("float16", "bfloat16") if tf.as_dtype(name).as_datatype_enum in kinds)
