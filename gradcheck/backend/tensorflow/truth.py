"""Truth values that know how far they are from being true and from being false.

A comparison is true or false; its operands say by how much.  Distances combine through and, or, not,
all and any, as in search-based testing (Korel 1990; Tracey and others 1998), and TensorFlow differentiates them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf


@dataclass(frozen=True, slots=True)
class Truth:
    """Hold a boolean tensor, and how far each element is from true and from false: 0 where it is there."""

    value: Any
    to_true: Any
    to_false: Any

    def opposite(self) -> Truth:
        """Return the truth of `not`."""
        return Truth(tf.logical_not(self.value), self.to_false, self.to_true)

    def both(self, other: Truth) -> Truth:
        """Return the truth of `and`."""
        to_false = tf.minimum(self.to_false, other.to_false)
        return Truth(tf.logical_and(self.value, other.value), self.to_true + other.to_true, to_false)

    def either(self, other: Truth) -> Truth:
        """Return the truth of `or`."""
        return self.opposite().both(other.opposite()).opposite()

    def all(self, axes: Any, keepdims: bool) -> Truth:
        """Return the truth of `all` along axes."""
        to_true = tf.reduce_sum(self.to_true, axes, keepdims)
        to_false = tf.reduce_min(self.to_false, axes, keepdims)
        return Truth(tf.reduce_all(self.value, axes, keepdims), to_true, to_false)

    def any(self, axes: Any, keepdims: bool) -> Truth:
        """Return the truth of `any` along axes."""
        return self.opposite().all(axes, keepdims).opposite()

    def through(self, move: Callable[[Any], Any]) -> Truth:
        """Return the truth after an op that only moves elements."""
        return Truth(move(self.value), move(self.to_true), move(self.to_false))


def known(value: Any) -> Truth:
    """Return the truth of a boolean tensor of which nothing more is known."""
    number = tf.cast(value, tf.float64)
    return Truth(value, 1.0 - number, number)


def positive(margin: Any, depth: Any, value: Any = None) -> Truth:
    """Return the truth of `margin > 0`, of which either side begins at `depth`; what is exactly equal is on one too."""
    value = margin > 0 if value is None else value
    nothing, tied = tf.zeros_like(margin), tf.equal(margin, 0)
    to_true = tf.where(tied & value, nothing, tf.nn.relu(depth - margin))
    to_false = tf.where(tied & ~value, nothing, tf.nn.relu(depth + margin))
    return Truth(value, to_true, to_false)


def equal(gap: Any, depth: Any, value: Any) -> Truth:
    """Return the truth of `gap == 0`, which is false from `depth` on."""
    size = tf.abs(gap)
    return Truth(value, tf.where(value, tf.zeros_like(size), size), tf.nn.relu(depth - size))


def soft(truth: Truth) -> Any:
    """Return 0 or 1 with a slope: what counts truth values grows where one of them comes closer to true."""
    margin = truth.to_false - truth.to_true
    sloped = margin / (1.0 + tf.abs(margin))
    return tf.cast(truth.value, tf.float64) + (sloped - tf.stop_gradient(sloped))


def with_slope(value: Any, like: Any) -> Any:
    """Return `value` with the slope of `like`: a staircase with that of its ramp."""
    return tf.stop_gradient(value) + (like - tf.stop_gradient(like))
