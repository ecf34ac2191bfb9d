"""Gradients that are random estimates, right and wrong in expectation."""

import numpy as np
import tensorflow as tf


def score_function(factor):
    """Return an op that draws k ~ Bernoulli(sigmoid(x)) and estimates the gradient of E[3 k + 1] by its score."""

    def make():
        @tf.custom_gradient
        def op(x):
            p = tf.sigmoid(x)
            k = tf.cast(tf.random.uniform(tf.shape(x)) < p, x.dtype)
            y = 3.0 * k + 1.0
            return y, lambda up: tf.convert_to_tensor(up) * y * (k - p) * factor

        return op

    return make


score, score_doubled, score_negated = (score_function(factor) for factor in (1.0, 2.0, -1.0))


def expected(x):
    return 3.0 * tf.sigmoid(x) + 1.0


def masked(scale):
    """Return a square whose rule keeps a quarter of its elements, `scale` times as large."""

    def make():
        @tf.custom_gradient
        def op(x):
            def grad(up):
                mask = tf.cast(tf.random.uniform(tf.shape(x)) < 0.25, x.dtype)
                return tf.convert_to_tensor(up) * 2.0 * x * mask * scale

            return x * x, grad

        return op

    return make


thinned, thinned_unscaled = masked(4.0), masked(1.0)


@tf.custom_gradient
def by_numpy(x):
    def grad(up):
        mask = (np.random.rand(*x.shape) < 0.5).astype(np.float32) * 2.0
        return tf.convert_to_tensor(up) * 2.0 * x * mask

    return x * x, grad


@tf.custom_gradient
def dropout(x):
    mask = tf.cast(tf.random.uniform(tf.shape(x)) < 0.5, x.dtype) * 2.0
    return x * x * mask, lambda up: tf.convert_to_tensor(up) * 2.0 * x * mask


@tf.custom_gradient
def exact(x):
    return x * x, lambda up: tf.convert_to_tensor(up) * 2.0 * x


def coin_cost(scored):
    """A square that a coin keeps: its expected value depends on the chance too, which each draw hides."""

    @tf.custom_gradient
    def op(x):
        chance = tf.sigmoid(x)
        side = tf.cast(tf.random.uniform(tf.shape(x)) < chance, x.dtype)
        score = x * x * side * (side - chance) if scored else 0.0
        return side * x * x, lambda up: tf.convert_to_tensor(up) * (2.0 * x * side + score)

    return op


def expected_cost(x):
    return tf.sigmoid(x) * x * x
