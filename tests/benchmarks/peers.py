"""Print the seconds that a peer's checker takes for an op, its import and its first use left out.

    python -m tests.benchmarks.peers PEER OP ORDER SHAPE [SHAPE ...]

PEER is compute_gradient, torch, torch-fast or jax.  The ops are those of `ops.py`, as a user of the
framework writes them.  The first use is a check of another op of four numbers.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

Arrays = Sequence[np.ndarray]


def compute_gradient(name: str, order: int, arrays: Arrays) -> Callable[[], object]:
    """Return the run of TensorFlow's own checker."""
    import tensorflow as tf

    from tests.benchmarks import ops

    inputs = [tf.constant(a) for a in arrays]
    return lambda: tf.test.compute_gradient(getattr(ops, name, tf.sin), inputs)


def torch(name: str, order: int, arrays: Arrays, fast: bool = False) -> Callable[[], object]:
    """Return the run of PyTorch's checker, of `gradgradcheck` at order 2."""
    import torch

    def attention(q, k, v):
        return torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), -1) @ v

    def recurrence(xs, kernel, recurrent):
        state = torch.zeros(xs.shape[1], recurrent.shape[0], dtype=xs.dtype)
        for x in xs:
            state = torch.tanh(x @ kernel + state @ recurrent)
        return state

    named = {
        "softplus": torch.nn.functional.softplus,
        "attention": attention,
        "layer_norm": lambda x, gain, offset: torch.nn.functional.layer_norm(x, x.shape[-1:], gain, offset),
        "convolution": lambda x, kernel: torch.nn.functional.conv2d(
            x.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1), padding="same"
        ),
        "recurrence": recurrence,
        "scanned": recurrence,
        "warm-up": torch.sin,
    }
    inputs = [torch.tensor(a, requires_grad=True) for a in arrays]
    check = torch.autograd.gradcheck if order == 1 else torch.autograd.gradgradcheck
    return lambda: check(named[name], inputs, fast_mode=fast)


def jax(name: str, order: int, arrays: Arrays) -> Callable[[], object]:
    """Return the run of JAX's `check_grads` in reverse mode."""
    import jax
    from jax.test_util import check_grads

    jax.config.update("jax_enable_x64", True)
    np_ = jax.numpy

    def attention(q, k, v):
        return jax.nn.softmax(q @ np_.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])) @ v

    def layer_norm(x, gain, offset):
        return (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5) * gain + offset

    def convolution(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def start(xs, recurrent):
        return np_.zeros((xs.shape[1], recurrent.shape[0]), xs.dtype)

    def recurrence(xs, kernel, recurrent):
        state = start(xs, recurrent)
        for x in xs:
            state = np_.tanh(x @ kernel + state @ recurrent)
        return state

    def scanned(xs, kernel, recurrent):
        step = lambda state, x: (np_.tanh(x @ kernel + state @ recurrent), None)  # noqa: E731
        return jax.lax.scan(step, start(xs, recurrent), xs)[0]

    named = {
        "softplus": jax.nn.softplus,
        "attention": attention,
        "layer_norm": layer_norm,
        "convolution": convolution,
        "recurrence": recurrence,
        "scanned": scanned,
        "warm-up": np_.sin,
    }
    inputs = tuple(np_.asarray(a) for a in arrays)
    return lambda: check_grads(named[name], inputs, order, modes=["rev"])


PEERS: dict[str, Callable[[str, int, Arrays], Callable[[], object]]] = {
    "compute_gradient": compute_gradient,
    "torch": torch,
    "torch-fast": lambda name, order, arrays: torch(name, order, arrays, fast=True),
    "jax": jax,
}


def main() -> None:
    """Time one run of one peer in this fresh process."""
    peer, name, order, *shapes = sys.argv[1:]
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=[int(n) for n in shape.split("x")]) for shape in shapes]
    PEERS[peer]("warm-up", 1, [rng.normal(size=4)])()
    run = PEERS[peer](name, int(order), arrays)
    started = time.perf_counter()
    run()
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
