"""Gradients that are right at the sample and wrong where it does not reach, each with its right twin."""

import numpy as np
import tensorflow as tf


class ScaledNorm(tf.keras.layers.Layer):
    """Normalizes rows and scales them; the scale starts at one, the shift at zero."""

    def __init__(self, forget_scale=False):
        super().__init__()
        self.forget_scale = forget_scale

    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=(shape[-1],), initializer="ones")
        self.shift = self.add_weight(name="shift", shape=(shape[-1],), initializer="zeros")

    def call(self, x):
        return self._norm(x, tf.convert_to_tensor(self.scale), tf.convert_to_tensor(self.shift))

    def _norm(self, x, scale, shift):
        forget = self.forget_scale

        @tf.custom_gradient
        def norm(x, scale, shift):
            inverse = tf.math.rsqrt(tf.reduce_mean(x * x, -1, keepdims=True) + 1e-6)
            unit = x * inverse

            def grad(upstream):
                g = upstream if forget else upstream * scale
                dx = inverse * (g - unit * tf.reduce_mean(g * unit, -1, keepdims=True))
                return dx, tf.reduce_sum(upstream * unit, 0), tf.reduce_sum(upstream, 0)

            return unit * scale + shift, grad

        return norm(x, scale, shift)


class LowRank(tf.keras.layers.Layer):
    """x + x A B with B starting at zero, so that every mistake in A's gradient starts at zero too."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor

    def build(self, shape):
        self.a = self.add_weight(name="a", shape=(shape[-1], 2), initializer="random_normal")
        self.b = self.add_weight(name="b", shape=(2, shape[-1]), initializer="zeros")

    def call(self, x):
        factor = self.factor

        @tf.custom_gradient
        def adapted(x, a, b):
            def grad(upstream):
                back = tf.matmul(upstream, b, transpose_b=True)
                dx = upstream + tf.matmul(back, a, transpose_b=True)
                da = factor * tf.matmul(x, back, transpose_a=True)
                return dx, da, tf.matmul(tf.matmul(x, a), upstream, transpose_a=True)

            return x + tf.matmul(tf.matmul(x, a), b), grad

        return adapted(x, tf.convert_to_tensor(self.a), tf.convert_to_tensor(self.b))


def mean_over_rows(rows=None):
    """The mean over the batch; `rows` is the batch that the gradient was written for."""

    @tf.custom_gradient
    def op(x):
        count = tf.cast(rows or tf.shape(x)[0], x.dtype)

        def grad(upstream):
            return tf.ones_like(x) * tf.convert_to_tensor(upstream) / count

        return tf.reduce_mean(x, axis=0), grad

    return op


def reshaped(rows=None):
    """Doubles through a reshape of the upstream to a fixed number of rows."""

    @tf.custom_gradient
    def op(x):
        def grad(upstream):
            return 2.0 * tf.reshape(tf.convert_to_tensor(upstream), [rows or tf.shape(x)[0], 3])

        return 2.0 * x, grad

    return op


def squeezed(careless=False):
    """A product with a vector whose gradient squeezes away a batch of one."""

    @tf.custom_gradient
    def op(x, w):
        def grad(upstream):
            upstream = tf.convert_to_tensor(upstream)
            flat = tf.squeeze(x) if careless else x
            dw = tf.reduce_sum(flat * upstream[:, None], 0) if flat.shape.rank == 2 else tf.reduce_sum(flat) * w
            return upstream[:, None] * w, dw

        return tf.linalg.matvec(x, w), grad

    return op


def clipped_square(limit=6.0, believed=6.0):
    """x^2 up to a limit, linear beyond; the gradient may believe in another limit."""

    @tf.custom_gradient
    def op(x):
        inside = tf.abs(x) <= limit
        y = tf.where(inside, x * x, 2.0 * limit * tf.abs(x) - limit * limit)

        def grad(upstream):
            slope = tf.where(tf.abs(x) <= believed, 2.0 * x, 2.0 * believed * tf.sign(x))
            return tf.convert_to_tensor(upstream) * slope

        return y, grad

    return op


def clip(x):
    """The function whose gradient a clipped rounding is meant to have."""
    return tf.clip_by_value(x, -1.0, 1.0)


def clipped_rounding(masked=True):
    @tf.custom_gradient
    def op(x):
        def grad(upstream):
            upstream = tf.convert_to_tensor(upstream)
            return tf.where(tf.abs(x) <= 1.0, upstream, tf.zeros_like(upstream)) if masked else upstream

        return tf.clip_by_value(tf.round(x * 8.0) / 8.0, -1.0, 1.0), grad

    return op


def sinc(careless=False):
    @tf.custom_gradient
    def op(x):
        zero = tf.equal(x, 0.0)
        safe = tf.where(zero, tf.ones_like(x), x)
        y = tf.where(zero, tf.ones_like(x), tf.sin(safe) / safe)

        def grad(upstream):
            slope = (tf.cos(x) - y) / x if careless else tf.where(zero, tf.zeros_like(x), (tf.cos(safe) - y) / safe)
            return tf.convert_to_tensor(upstream) * slope

        return y, grad

    return op


def larger_of(both=False):
    """The elementwise maximum; at a tie the gradient may go to both."""

    @tf.custom_gradient
    def op(a, b):
        def grad(upstream):
            upstream = tf.convert_to_tensor(upstream)
            to_a = tf.cast(a >= b, a.dtype)
            to_b = tf.cast(b >= a, a.dtype) if both else 1.0 - to_a
            return upstream * to_a, upstream * to_b

        return tf.maximum(a, b), grad

    return op


def two_sizes(factor=1.0):
    """A large and a small output; the mistake is in the small one."""

    @tf.custom_gradient
    def op(x):
        def grad(large, small):
            return 1e6 * large * tf.cos(x) - factor * small * tf.sin(x)

        return (1e6 * tf.sin(x), tf.cos(x)), grad

    return op


def stopped_upstream(stopped=False):
    @tf.custom_gradient
    def op(x):
        def grad(upstream):
            upstream = tf.convert_to_tensor(upstream)
            return (tf.stop_gradient(upstream) if stopped else upstream) * tf.cos(x)

        return tf.sin(x), grad

    return op


def branch_on_dtype(factor=1.0):
    """Off by a factor in half precision only."""

    @tf.custom_gradient
    def op(x):
        scale = tf.constant(factor if x.dtype == tf.float16 else 1.0, x.dtype)
        return x * x, lambda upstream: tf.convert_to_tensor(upstream) * 2.0 * x * scale

    return op


def eager_factor(factor=1.0):
    """Off by a little in eager only."""

    @tf.custom_gradient
    def op(x):
        scale = factor if tf.executing_eagerly() else 1.0
        return tf.sin(x), lambda upstream: tf.convert_to_tensor(upstream) * tf.cos(x) * scale

    return op


def small_beside_large(factor=1.0):
    """One input with a gradient of size 1e6, another of size 1e-3."""

    @tf.custom_gradient
    def op(a, b):
        def grad(upstream):
            upstream = tf.convert_to_tensor(upstream)
            return upstream * 1e6 * tf.cos(a), factor * upstream * 1e-3 * tf.cos(b)

        return 1e6 * tf.sin(a) + 1e-3 * tf.sin(b), grad

    return op


def where_exp(x):
    """Overflows in the branch that is not taken, without any custom gradient."""
    return tf.where(x > 20.0, x, tf.math.log1p(tf.exp(x)))


def half_inside(units=4):
    """A plain layer that computes in half precision on float32 tensors."""
    return tf.keras.layers.Dense(units, activation="gelu", dtype="mixed_float16")


@tf.custom_gradient
def cross_entropy(logits, labels):
    """With integer labels, whose batch must grow along."""
    p = tf.nn.softmax(logits)
    rows = tf.one_hot(labels, tf.shape(logits)[-1], dtype=logits.dtype)

    def grad(upstream):
        return tf.convert_to_tensor(upstream)[:, None] * (p - rows), None

    return -tf.reduce_sum(rows * tf.math.log(p), -1), grad


@tf.custom_gradient
def overlap(a, b):
    """Intervals of two numbers: a third column means nothing."""
    low, high = tf.maximum(a[:, 0], b[:, 0]), tf.minimum(a[:, 1], b[:, 1])
    met = tf.cast(high > low, a.dtype)

    def grad(upstream):
        g = tf.convert_to_tensor(upstream) * met
        first, last = tf.cast(a[:, 0] > b[:, 0], a.dtype), tf.cast(a[:, 1] < b[:, 1], a.dtype)
        da = tf.stack([-g * first, g * last], 1)
        db = tf.stack([-g * (1.0 - first), g * (1.0 - last)], 1)
        return da, db

    return met * (high - low), grad


def solve_until(tolerance=1e-6):
    """A loop that ends when it has converged, which it never does far out."""

    @tf.custom_gradient
    def op(a):
        def going(x):
            return tf.reduce_any(tf.abs(x * x * x + x - a) > tolerance * (1.0 + 0.0 * a))

        (x,) = tf.while_loop(going, lambda x: (x - (x**3 + x - a) / (3.0 * x * x + 1.0),), (tf.zeros_like(a),))
        return x, lambda upstream: tf.convert_to_tensor(upstream) / (3.0 * x * x + 1.0)

    return op


def frozen_batch_norm():
    """Batch normalisation at inference: moving averages start at zero and one."""
    layer = tf.keras.layers.BatchNormalization()
    layer.trainable = False
    return layer


def spread(*xs):
    """Takes any number of tensors."""
    return tf.add_n([x * np.float32(i + 1) for i, x in enumerate(xs)])
