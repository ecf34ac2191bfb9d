# SPDX-License-Identifier: Apache-2.0
"""The gradient of a function that is traced once, with unknown leading dimensions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import tensorflow as tf

from gradcheck.backend.tensorflow.operation import Operation, floating
from gradcheck.backend.tensorflow.runs import Gradients, as_tensor, pull_back, spec_of, to_array
from gradcheck.backend.tensorflow.tracing import GradientTape, function

# (values, a flat upstream for each output) -> gradients
Traced = Callable[[Sequence[Any], Sequence[Any]], list[Any]]


def traced_for_any_rows(
    gradients: Gradients, values: Sequence[Any], free: Collection[int], output_dtypes: Sequence[str]
) -> Traced:
    """Return the gradient as a function of leaves whose first dimension is unknown where `free` says so."""
    operation, sources, variables = gradients.operation, gradients.sources, gradients.variables

    def value_and_gradient(tensors: Any, weights: Any) -> Any:
        with GradientTape() as tape:
            watched = [tensors[i] for i in sources]
            tape.watch(watched)
            outputs = operation(tensors)
        ups = [tf.reshape(w, tf.shape(o)) for w, o in zip(weights, floating(outputs), strict=True)]
        return outputs, pull_back(tape, outputs, [*watched, *variables], ups)

    weights = [tf.TensorSpec([None], dtype) for dtype in output_dtypes]
    gradients.state.restore()
    traced = function(value_and_gradient, input_signature=[_specs(values, free), weights])

    def call(point: Sequence[Any], upstream: Sequence[Any]) -> list[Any]:
        gradients.state.restore()
        flat = [as_tensor(u.reshape(-1)) for u in upstream]
        return [to_array(g) for g in traced([as_tensor(v) for v in point], flat)[1]]

    return call


def trace_for_any_rows(operation: Operation, values: Sequence[Any], free: Collection[int]) -> Any:
    """Return the trace of a forward with unknown first dimensions; raises what the op does then."""
    return function(operation).get_concrete_function(_specs(values, free))


def _specs(values: Sequence[Any], free: Collection[int]) -> list[Any]:
    return [spec_of(value, rows=i not in free) for i, value in enumerate(values)]
