# SPDX-License-Identifier: Apache-2.0
"""Take the autodiff gradient apart: what comes through each use of an input, and by output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.operation import Operation, differentiable
from gradcheck.backend.tensorflow.runs import Gradients
from gradcheck.backend.tensorflow.tracing import function

MAX_USES = 8


def terms_of(
    gradients: Gradients, operation: Operation, values: Sequence[Any], upstream: Sequence[Any], slot: int
) -> list[np.ndarray[Any, Any]]:
    """Return the parts of the gradient of an input or variable that come through each op that reads it.

    Empty where the forward cannot be traced or has fewer than two uses of it.
    """
    return refused(lambda: _traced_terms(gradients, operation, values, upstream, slot)) or []


def _traced_terms(
    gradients: Gradients, operation: Operation, values: Sequence[Any], upstream: Sequence[Any], slot: int
) -> list[np.ndarray[Any, Any]]:
    parts: list[Any] = []

    def traced(tensors: Any) -> Any:
        outputs = [t for t in operation(tensors) if differentiable(t)]
        sources = [tensors[gradients.sources[slot]]] if slot < len(gradients.sources) else _reads(gradients, slot)
        # An op that takes the source twice, as x * x does, is one use.
        uses = [(source, op) for source in sources for op in dict.fromkeys(source.consumers())
                if op.outputs and op.outputs[0].dtype == source.dtype]  # fmt: skip
        if not 2 <= len(uses) <= MAX_USES:
            return []
        ups = [tf.constant(u) for u in upstream]
        parts.extend(_through(outputs, ups, source, use) for source, use in uses)
        return parts

    gradients.state.restore()
    found = function(traced)([tf.constant(v) for v in values])
    gradients.state.restore()
    return [np.asarray(part, np.float64) for part in found]


def _reads(gradients: Gradients, slot: int) -> list[Any]:
    """Return the tensors that hold a variable's value in the graph being traced."""
    handle = gradients.variables[slot - len(gradients.sources)].handle
    graph = tf.compat.v1.get_default_graph()
    inside = [internal for external, internal in graph.captures if external is handle]
    reads = [op for tensor in inside for op in tensor.consumers() if op.type == "ReadVariableOp"]
    return [op.outputs[0] for op in reads]


def _through(outputs: list[Any], ups: list[Any], source: Any, use: Any) -> Any:
    """Return the part of the gradient with respect to `source` that comes through one op."""
    reached = tf.gradients(outputs, list(use.outputs), grad_ys=ups)
    live = [(out, g) for out, g in zip(use.outputs, reached, strict=True) if g is not None]
    others = [other for other in use.inputs if other is not source]
    part = None
    if live:
        (part,) = tf.gradients([out for out, _ in live], [source], grad_ys=[g for _, g in live], stop_gradients=others)
    return tf.zeros_like(source) if part is None else tf.convert_to_tensor(part)
