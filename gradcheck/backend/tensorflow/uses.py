# SPDX-License-Identifier: Apache-2.0
"""Other uses of an op than tape.gradient: forward mode, Jacobians, and the op mapped over a stack of inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from gradcheck.backend.tensorflow.operation import differentiable
from gradcheck.backend.tensorflow.runs import Gradients, as_tensor, dense, pull_back, to_array
from gradcheck.backend.tensorflow.tracing import GradientTape


@dataclass(frozen=True, slots=True)
class Mapped:
    """Hold outputs and gradients of an op mapped over a stack of inputs; the first axis is the stack's."""

    outputs: list[Any]
    gradients: list[Any]


def pushed_forward(gradients: Gradients, values: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
    """Return J v for each floating output by forward mode; `tangents` are those of the sources, then the variables."""
    gradients.state.restore()
    tensors = [as_tensor(value) for value in values]
    primals = [*(tensors[i] for i in gradients.sources), *gradients.variables]
    with tf.autodiff.ForwardAccumulator(primals, [as_tensor(v) for v in tangents]) as accumulator:
        outputs = gradients.operation(tensors)
    found = [accumulator.jvp(o, tf.UnconnectedGradients.ZERO) for o in outputs if differentiable(o)]
    return [to_array(dense(tangent)) for tangent in found]


def jacobians(gradients: Gradients, values: Sequence[Any], vectorized: bool) -> list[list[Any]]:
    """Return the Jacobian of each floating output for each source and variable, None where there is none."""
    gradients.state.restore()
    tensors = [as_tensor(value) for value in values]
    watched = [tensors[i] for i in gradients.sources]
    with GradientTape(persistent=True) as tape:
        tape.watch(watched)
        outputs = gradients.operation(tensors)
    sources = [*watched, *gradients.variables]
    return [
        [to_array(dense(j)) for j in tape.jacobian(o, sources, experimental_use_pfor=vectorized)]
        for o in outputs
        if differentiable(o)
    ]


def mapped(
    gradients: Gradients,
    how: Callable[..., Any],
    stacks: Sequence[Any],
    upstream: Sequence[Any],
    tape_inside: bool,
) -> Mapped:
    """Return the op mapped over `stacks` by tf.vectorized_map or tf.map_fn, with its gradients.

    The tape stands inside of what is mapped, or around the whole; `upstream` has the stack's axis too.
    """
    gradients.state.restore()
    tensors = [as_tensor(stack) for stack in stacks]
    ups = [as_tensor(u) for u in upstream]
    sources, variables = gradients.sources, gradients.variables

    def op(values: Any) -> list[Any]:
        return [output for output in gradients.operation(list(values)) if differentiable(output)]

    def op_and_gradient(packed: Any) -> Any:
        values, up = packed
        with GradientTape() as tape:
            watched = [values[i] for i in sources]
            tape.watch(watched)
            outputs = op(values)
        return outputs, [_zeros(g, s) for g, s in zip(pull_back(tape, outputs, watched, up), watched, strict=True)]

    if tape_inside:
        outputs, found = how(op_and_gradient, (tensors, ups))
    else:
        with GradientTape() as tape:
            watched = [tensors[i] for i in sources]
            tape.watch(watched)
            outputs = how(op, tensors)
        found = pull_back(tape, outputs, [*watched, *variables], ups)
    return Mapped([to_array(o) for o in outputs], [to_array(g) for g in found])


def vectorized_map(f: Callable[..., Any], stacks: Any) -> Any:
    """Map by tf.vectorized_map, which rewrites the ops of `f` for the whole stack."""
    return tf.vectorized_map(f, stacks)


def map_fn(f: Callable[..., Any], stacks: Any) -> Any:
    """Map by tf.map_fn, which calls `f` once for each element."""
    first = f(tf.nest.map_structure(lambda t: t[0], stacks))
    return tf.map_fn(f, stacks, fn_output_signature=tf.nest.map_structure(lambda t: t.dtype, first))


def _zeros(gradient: Any, source: Any) -> Any:
    return tf.zeros_like(source) if gradient is None else gradient
