"""Print the seconds that one gradient of an op takes in each of the five ways, tracing and compiling included.

    python -m tests.benchmarks.five_ways OP ORDER SHAPE [SHAPE ...]

The ways are those of a check: eager, `tf.function` and XLA, each of the latter two with the tape around it
and within it.  A shape is written as 4x3.  Nothing that is measured here can be left out by a checker that
answers for all five, so that this is what the time of a check is compared with.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tests.benchmarks import ops

Gradients = Callable[..., list]


def gradients(op: Callable[..., tf.Tensor], order: int) -> Gradients:
    """Return the function that takes the gradient, of order 1 or 2, with respect to all inputs."""

    def pulled(*inputs: tf.Tensor) -> list:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = op(*inputs) if order == 1 else gradients(op, order - 1)(*inputs)
        return tape.gradient(outputs, inputs)

    return pulled


def five_ways(op: Callable[..., tf.Tensor], order: int) -> list[Gradients]:
    """Return the gradient of an op in eager and, with the tape outside and inside, in both compiled modes."""
    ways = [gradients(op, order)]
    for compiled in (False, True):
        ways.append(gradients(tf.function(op, jit_compile=compiled), order))
        ways.append(tf.function(gradients(op, order), jit_compile=compiled))
    return ways


def main() -> None:
    """Time the ways together, once each, in this fresh process."""
    name, order, *shapes = sys.argv[1:]
    rng = np.random.default_rng(0)
    inputs = [tf.constant(rng.normal(size=[int(n) for n in shape.split("x")]), tf.float32) for shape in shapes]
    tf.reduce_sum(inputs[0]).numpy()
    started = time.perf_counter()
    for way in five_ways(getattr(ops, name), int(order)):
        # XLA hands no list of tensors out of a loop to a tape around it: that way nobody can go.
        with contextlib.suppress(tf.errors.UnimplementedError):
            for gradient in way(*inputs):
                gradient.numpy()
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
