# SPDX-License-Identifier: Apache-2.0
"""Truth values that know how far they are from being true and from being false.

A comparison is true or false; its operands say by how much.  Distances combine through and, or, not,
all and any, as in search-based testing (Korel 1990; Tracey and others 1998).  Of tensors TensorFlow
differentiates them; of arrays, which take a tenth of the time, they are numbers only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf

_TENSORS = SimpleNamespace(
    minimum=tf.minimum, invert=tf.logical_not, both=tf.logical_and, where=tf.where, zeros=tf.zeros_like, equal=tf.equal,
    abs=tf.abs, relu=tf.nn.relu, sum=tf.reduce_sum, least=tf.reduce_min, all=tf.reduce_all,
    number=lambda value: tf.cast(value, tf.float64), moved=lambda moved: moved,
)  # fmt: skip
_ARRAYS = SimpleNamespace(
    minimum=np.minimum, invert=np.logical_not, both=np.logical_and, where=np.where, zeros=np.zeros_like, equal=np.equal,
    abs=np.abs, relu=lambda x: np.maximum(x, 0.0), sum=lambda x, axes, keep: np.sum(x, _axes(axes), keepdims=keep),
    least=lambda x, axes, keep: np.min(x, _axes(axes), keepdims=keep),
    all=lambda x, axes, keep: np.all(x, _axes(axes), keepdims=keep),
    number=lambda value: np.asarray(value, np.float64), moved=np.asarray,
)  # fmt: skip


def _axes(axes: Any) -> tuple[int, ...]:
    return tuple(int(axis) for axis in np.ravel(axes))


def _kit(value: Any) -> Any:
    """Return the functions for a tensor or for an array."""
    return _ARRAYS if isinstance(value, (np.ndarray, np.generic)) else _TENSORS


@dataclass(frozen=True, slots=True)
class Truth:
    """Hold truth values, and how far each element is from true and from false: 0 where it is there."""

    value: Any
    to_true: Any
    to_false: Any

    def opposite(self) -> Truth:
        """Return the truth of `not`."""
        return Truth(_kit(self.value).invert(self.value), self.to_false, self.to_true)

    def both(self, other: Truth) -> Truth:
        """Return the truth of `and`."""
        kit = _kit(self.value)
        to_false = kit.minimum(self.to_false, other.to_false)
        return Truth(kit.both(self.value, other.value), self.to_true + other.to_true, to_false)

    def either(self, other: Truth) -> Truth:
        """Return the truth of `or`."""
        return self.opposite().both(other.opposite()).opposite()

    def all(self, axes: Any, keepdims: bool) -> Truth:
        """Return the truth of `all` along axes."""
        kit = _kit(self.value)
        to_true, to_false = kit.sum(self.to_true, axes, keepdims), kit.least(self.to_false, axes, keepdims)
        return Truth(kit.all(self.value, axes, keepdims), to_true, to_false)

    def any(self, axes: Any, keepdims: bool) -> Truth:
        """Return the truth of `any` along axes."""
        return self.opposite().all(axes, keepdims).opposite()

    def through(self, move: Callable[[Any], Any]) -> Truth:
        """Return the truth after an op that only moves elements."""
        kit = _kit(self.value)
        return Truth(*(kit.moved(move(part)) for part in (self.value, self.to_true, self.to_false)))


def known(value: Any) -> Truth:
    """Return the truth of booleans of which nothing more is known."""
    number = _kit(value).number(value)
    return Truth(value, 1.0 - number, number)


def positive(margin: Any, depth: Any, value: Any = None) -> Truth:
    """Return the truth of `margin > 0`, of which either side begins at `depth`; what is exactly equal is on one too."""
    kit = _kit(margin)
    value = margin > 0 if value is None else value
    nothing, tied = kit.zeros(margin), kit.equal(margin, 0)
    to_true = kit.where(kit.both(tied, value), nothing, kit.relu(depth - margin))
    to_false = kit.where(kit.both(tied, kit.invert(value)), nothing, kit.relu(depth + margin))
    return Truth(value, to_true, to_false)


def equal(gap: Any, depth: Any, value: Any) -> Truth:
    """Return the truth of `gap == 0`, which is false from `depth` on."""
    kit = _kit(gap)
    size = kit.abs(gap)
    return Truth(value, kit.where(value, kit.zeros(size), size), kit.relu(depth - size))


def soft(truth: Truth) -> Any:
    """Return 0 or 1 with a slope: what counts truth values grows where one of them comes closer to true."""
    margin = truth.to_false - truth.to_true
    sloped = margin / (1.0 + tf.abs(margin))
    return tf.cast(truth.value, tf.float64) + (sloped - tf.stop_gradient(sloped))


def with_slope(value: Any, like: Any) -> Any:
    """Return `value` with the slope of `like`: a staircase with that of its ramp."""
    return tf.stop_gradient(value) + (like - tf.stop_gradient(like))
