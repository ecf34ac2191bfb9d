# SPDX-License-Identifier: Apache-2.0
"""Host callbacks beside an op of a graph that come only when they are due.

A callback costs about 100 microseconds, a count in the graph less than 10: the callback says how many
further calls it does not want to see, and the graph counts them.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

# The names of all nodes that the recorder adds to a graph begin with it.
SCOPE = "gradcheck_record"
_NUMBERS = itertools.count()


class Countdown:
    """Count calls in the graph, and call `keep` for those that are due.

    `keep(passed, *values)` gets the number of calls that were only counted, and the values of `tensors`;
    it returns how many further calls need no callback. A call with other shapes than the last is always due.
    The count is a resource found by its name, so that no function captures a variable that is not the user's.
    """

    def __init__(self, keep: Callable[..., int], tensors: Sequence[Any]) -> None:
        self._keep, self._wanted = keep, 0
        name = f"{SCOPE}_{os.getpid()}_{next(_NUMBERS)}"
        partly_known = [t for t in tensors if not t.shape.is_fully_defined()]
        rank = sum(t.shape.rank for t in partly_known) if all(t.shape.rank is not None for t in partly_known) else None
        with tf.init_scope(), tf.device("CPU:0"):
            self._count = _resource(name, [])
            tf.raw_ops.AssignVariableOp(resource=self._count, value=tf.constant(0, tf.int64))
            if rank:
                shapes = tf.constant(-1, tf.int64, [rank])
                tf.raw_ops.AssignVariableOp(resource=_resource(f"{name}_shapes", [rank]), value=shapes)
        with tf.name_scope(f"{SCOPE}/"), tf.device("CPU:0"):
            self._put(name, tensors, partly_known, rank)

    def _put(self, name: str, tensors: Sequence[Any], partly_known: Sequence[Any], rank: int | None) -> None:
        """Put the count and the callback into the graph."""
        count = _resource(name, [])
        counted = tf.raw_ops.AssignSubVariableOp(resource=count, value=tf.constant(1, tf.int64))
        with tf.control_dependencies([counted]):
            left = tf.raw_ops.ReadVariableOp(resource=count, dtype=tf.int64)
        due = left < 0 if rank is not None else tf.constant(True)
        shapes = None
        if rank:
            shapes = tf.concat([tf.shape(t, tf.int64) for t in partly_known], 0)
            last = tf.raw_ops.ReadVariableOp(resource=_resource(f"{name}_shapes", [rank]), dtype=tf.int64)
            due = due | tf.reduce_any(shapes != last)

        def call_back() -> Any:
            further = tf.numpy_function(self._called, [left, *tensors], tf.int64)
            tf.raw_ops.AssignVariableOp(resource=count, value=further)
            if shapes is not None:
                tf.raw_ops.AssignVariableOp(resource=_resource(f"{name}_shapes", [rank]), value=shapes)
            return tf.constant(True)

        tf.cond(due, call_back, lambda: tf.constant(False))

    def _called(self, left: Any, *values: Any) -> Any:
        passed = max(self._wanted - int(left) - 1, 0)
        self._wanted = self._keep(passed, *values)
        return np.int64(self._wanted)

    def passed(self) -> int:
        """Return how many calls were only counted since the last callback; they are counted from now on."""
        left = int(tf.raw_ops.ReadVariableOp(resource=self._count, dtype=tf.int64))
        passed, self._wanted = self._wanted - left, left
        return max(passed, 0)


def _resource(name: str, shape: list[int | None]) -> Any:
    return tf.raw_ops.VarHandleOp(dtype=tf.int64, shape=shape, shared_name=name, container="")


def strip(graph: Any) -> None:
    """Take the recorder's nodes out of a GraphDef, in place: a saved program must not ask for them."""
    others = [function for function in graph.library.function if SCOPE not in function.signature.name]
    _replace(graph.library.function, others)
    for nodes in (graph.node, *(function.node_def for function in graph.library.function)):
        _replace(nodes, [node for node in nodes if not _is_ours(node.name)])
        for node in nodes:
            _replace(node.input, [name for name in node.input if not _is_ours(name.lstrip("^"))])
    for function in graph.library.function:
        ours = [key for key, node in function.control_ret.items() if _is_ours(node)]
        for key in ours:
            del function.control_ret[key]
        _replace(function.signature.control_output, [k for k in function.signature.control_output if k not in ours])


def _is_ours(name: str) -> bool:
    return name.startswith(f"{SCOPE}/")


def _replace(repeated: Any, kept: list[Any]) -> None:
    """Keep some of the elements of a repeated field."""
    if len(kept) < len(repeated):
        copies = [
            element if isinstance(element, str) else type(element).FromString(element.SerializeToString())
            for element in kept
        ]
        del repeated[:]
        repeated.extend(copies)
