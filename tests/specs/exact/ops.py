"""Ops whose gradient is wrong by too little for differences, and right ones that look like them."""

import numpy as np
import tensorflow as tf


def scaled(kind, factor):
    """Return x exp(x), or its like, with a gradient that is a factor off."""

    @tf.custom_gradient
    def op(x):
        def grad(upstream):
            if kind == "product":
                return factor * (1.0 + x) * tf.exp(x) * upstream
            if kind == "wave":
                return factor * tf.cos(x) * upstream
            return factor * tf.nn.softmax(x, -1) * upstream

        if kind == "product":
            return x * tf.exp(x), grad
        return (tf.sin(x) if kind == "wave" else tf.reduce_logsumexp(x, -1, keepdims=True)), grad

    return op


@tf.custom_gradient
def cube_by_a_third(x):
    """Return x^3 / 3 by a rounded third."""
    third = 0.3333333

    def grad(upstream):
        return x * x * upstream

    return third * x * x * x, grad


@tf.custom_gradient
def normal_density(x):
    """Return the density of a normal number, by constants that were cut to ten digits."""

    def grad(upstream):
        return -0.3989422804 * x * tf.exp(-0.5 * x * x) * upstream

    return tf.exp(-0.5 * x * x) / np.sqrt(2 * np.pi), grad


@tf.custom_gradient
def shifted_little(x):
    """Return sin x; its gradient has a term of 1e-6 more."""

    def grad(upstream):
        return (tf.cos(x) + 1e-6 * x) * upstream

    return tf.sin(x), grad


@tf.custom_gradient
def little_beyond_two(x):
    """Return x^2; its gradient is a millionth off beyond 2."""

    def grad(upstream):
        return 2.0 * x * tf.where(x > 2.0, tf.constant(1 + 1e-6, x.dtype), tf.constant(1.0, x.dtype)) * upstream

    return x * x, grad


@tf.custom_gradient
def by_python(x):
    """Return sin x by a function that TensorFlow does not see."""

    def grad(upstream):
        return tf.cos(x) * upstream

    y = tf.numpy_function(lambda v: np.sin(v), [x], x.dtype)
    return tf.ensure_shape(y, x.shape), grad
