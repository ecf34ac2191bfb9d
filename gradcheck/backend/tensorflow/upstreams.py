# SPDX-License-Identifier: Apache-2.0
"""The gradient for upstreams that are not one dense tensor per output: of one output alone, and of gathered rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.backend.tensorflow.operation import differentiable
from gradcheck.backend.tensorflow.recorder import Real
from gradcheck.backend.tensorflow.runs import Gradients, as_tensor, dense, to_array
from gradcheck.backend.tensorflow.tracing import GradientTape


def of_one_output(gradients: Gradients, values: Sequence[Any], upstream: Sequence[Any], number: int) -> None:
    """Take the gradient of one output alone; raises what grad_fn raises."""
    gradients.state.restore()
    with GradientTape() as tape:
        tensors = [as_tensor(v) for v in values]
        watched = [tensors[i] for i in gradients.sources]
        tape.watch(watched)
        outputs = [t for t in gradients.operation(tensors) if differentiable(t)]
    tape.gradient(outputs[number], watched, output_gradients=as_tensor(upstream[number]))


def of_rows(
    gradients: Gradients, values: Sequence[Any], output: Any, position: int, rows: list[int], thick: bool
) -> list[Any]:
    """Return the gradients for the upstream that tf.gather of `rows` gives an output, made dense if `thick`.

    Raises what grad_fn raises.
    """
    gradients.state.restore()
    upstream = _upstream_of_rows(output, rows, thick)
    with GradientTape() as tape:
        tensors = [as_tensor(v) for v in values]
        watched = [tensors[i] for i in gradients.sources]
        tape.watch(watched)
        result = gradients.operation(tensors)[position]
        taken = Real(lambda y: (tf.constant(0, y.dtype), lambda _: upstream))(result)
    return [to_array(dense(g)) for g in tape.gradient(taken, watched)]


def _upstream_of_rows(output: Any, rows: list[int], thick: bool) -> Any:
    """Return an upstream of 1, 2, 3 ... along each of the rows, which count as often as they are named."""
    row = np.arange(1, 1 + math.prod(output.shape[1:])).reshape(output.shape[1:]).astype(output.dtype)
    if not thick:
        return tf.IndexedSlices(as_tensor(np.stack([row] * len(rows))), as_tensor(rows), as_tensor(output.shape))
    whole = np.zeros_like(output)
    for number in rows:
        whole[number] += row
    return as_tensor(whole)
