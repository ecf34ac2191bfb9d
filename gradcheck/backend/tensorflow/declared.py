# SPDX-License-Identifier: Apache-2.0
"""Call the gradient that a case declares with `expected_vjp`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.backend.tensorflow import tracing
from gradcheck.backend.tensorflow.float64_graph import wide_dtype
from gradcheck.backend.tensorflow.inputs import Leaf
from gradcheck.backend.tensorflow.operation import call_user, differentiable
from gradcheck.backend.tensorflow.runs import spec_of, to_array


def traced_declared(
    function: Callable[..., Any], leaves: Sequence[Leaf], values: Sequence[Any], upstream: Sequence[Any]
) -> tuple[Any, tuple[bool, ...]]:
    """Return the trace of `function(*inputs, upstream)`, and which of what it returns is not None.

    Raises what the function raises.
    """

    def called(tensors: Any, ups: Any) -> Any:
        parts = [leaf.assemble(tensor) for leaf, tensor in zip(leaves, tensors, strict=True)]
        return tf.nest.flatten(call_user(function, *parts, *ups))

    specs = [spec_of(value) for value in values], [spec_of(value) for value in upstream]
    concrete = tracing.function(called).get_concrete_function(*specs)
    return concrete, tuple(result is not None for result in concrete.structured_outputs)


def declared_gradients(
    function: Callable[..., Any], leaves: Sequence[Leaf], upstream: Sequence[Any], dtypes: Sequence[str], wide: bool
) -> list[Any]:
    """Return what `function(*inputs, upstream)` returns: an array or None for each.

    `upstream` are float64 arrays; with `wide` the inputs become float64 too, else the upstream is
    cast to the outputs' `dtypes`.  Raises what the function raises.
    """
    tensors = [tf.constant(leaf.values) for leaf in leaves]
    ups = [tf.constant(value) for value in upstream]
    if wide:
        tensors = [tf.cast(t, wide_dtype(t.dtype)) if differentiable(t) else t for t in tensors]
    else:
        ups = [tf.cast(u, dtype) for u, dtype in zip(ups, dtypes, strict=True)]
    parts = [leaf.assemble(tensor) for leaf, tensor in zip(leaves, tensors, strict=True)]
    result = tf.nest.flatten(call_user(function, *parts, *ups))
    return [None if r is None else np.asarray(to_array(tf.convert_to_tensor(r))) for r in result]
