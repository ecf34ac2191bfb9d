"""Ops for the other ways in which TensorFlow uses a gradient, and for gradients that are random estimates."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


@tf.custom_gradient
def softsign(x: tf.Tensor) -> Any:
    """x / (1 + |x|): what the forward gives is what the rule gives, whichever TensorFlow uses."""
    below = 1.0 + tf.abs(x)
    return x / below, lambda upstream: tf.convert_to_tensor(upstream) / below**2


@tf.custom_gradient
def reverse(x: tf.Tensor) -> Any:
    """Reverse the gradient; forward mode and vectorized_map see the identity."""
    return tf.identity(x), lambda upstream: -tf.convert_to_tensor(upstream)


def negative(x: tf.Tensor) -> tf.Tensor:
    """What `reverse` means."""
    return -x


class Scale(tf.keras.layers.Layer):
    """Scale each column by a weight."""

    def build(self, shape: Any) -> None:
        """Make one weight for each column."""
        self.scale = self.add_weight(shape=(shape[-1],), initializer="random_normal", name="scale")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Return the scaled columns."""

        @tf.custom_gradient
        def scaled(x: tf.Tensor, scale: tf.Tensor) -> Any:
            def grad(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                upstream = tf.convert_to_tensor(upstream)
                return upstream * scale, tf.reduce_sum(upstream * x, 0)

            return x * scale, grad

        return scaled(x, tf.convert_to_tensor(self.scale))


@tf.custom_gradient
def coin(x: tf.Tensor) -> Any:
    """Throw a coin for each logit; estimate the gradient of its expected value by the score function."""
    chance = tf.sigmoid(x)
    side = tf.cast(tf.random.uniform(tf.shape(x)) < chance, x.dtype)
    return side, lambda upstream: tf.convert_to_tensor(upstream) * side * (side - chance)


@tf.custom_gradient
def coin_without_score(x: tf.Tensor) -> Any:
    """Forget that the score has a mean of zero only with the chance subtracted."""
    chance = tf.sigmoid(x)
    side = tf.cast(tf.random.uniform(tf.shape(x)) < chance, x.dtype)
    return side, lambda upstream: tf.convert_to_tensor(upstream) * side


def expected_side(x: tf.Tensor) -> tf.Tensor:
    """The expected value of `coin`."""
    return tf.sigmoid(x)
