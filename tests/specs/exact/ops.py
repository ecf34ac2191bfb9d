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


def slope_by_python(factor=1.0):
    """Return sin x; its gradient is computed by NumPy, whose numbers alone are known."""

    @tf.custom_gradient
    def op(x):
        def grad(upstream):
            return tf.constant(factor * np.cos(x.numpy())) * upstream

        return tf.sin(x), grad

    return op


def clipped(wrong=False):
    """Return relu(x), wrong in a narrow band if that is asked for."""

    @tf.custom_gradient
    def op(x):
        def grad(upstream):
            slope = tf.cast(x > 0.0, x.dtype)
            return upstream * (tf.where((x > 3.0) & (x < 3.001), 2.0 * slope, slope) if wrong else slope)

        return tf.nn.relu(x), grad

    return op


def clipped_upstream(bound=1.0):
    """Return x; its gradient is an upstream clipped to one, or to a bound that is a little off."""

    @tf.custom_gradient
    def op(x):
        return tf.identity(x), lambda upstream: tf.clip_by_value(tf.convert_to_tensor(upstream), -bound, bound)

    return op


def clip_to_one(x, upstream):
    return tf.clip_by_value(upstream, -1.0, 1.0)


def clip_to_half(x, upstream):
    return tf.clip_by_value(upstream, -0.5, 0.5)


def spectrum(factor=1.0):
    """Return the power of each frequency of a signal, by complex numbers."""

    @tf.custom_gradient
    def op(x):
        z = tf.signal.rfft(x)

        def grad(upstream):
            n = tf.shape(x)[-1:]
            count = tf.cast(n[0], x.dtype)
            weights = tf.constant([1.0, 0.5, 0.5, 1.0], x.dtype)
            scaled = tf.cast(2.0 * factor * count * weights * upstream, z.dtype)
            return tf.signal.irfft(scaled * z, n)

        return tf.math.real(z) ** 2 + tf.math.imag(z) ** 2, grad

    return op
