"""Gradients that a dozen random numbers do not show to be wrong, and right ones beside them."""

import math

import tensorflow as tf


def hard_swish(threshold=3.0):
    """x relu6(x + 3) / 6; the gradient may take another threshold than the forward."""

    @tf.custom_gradient
    def op(x):
        def grad(upstream):
            inside = tf.cast(tf.abs(x) < threshold, x.dtype)
            slope = tf.where(x >= threshold, tf.ones_like(x), inside * (2.0 * x + 3.0) / 6.0)
            return tf.convert_to_tensor(upstream) * slope

        return x * tf.nn.relu6(x + 3.0) / 6.0, grad

    return op


def window(factor=1.0):
    """A smooth op whose gradient has a factor between 5 and 6."""

    @tf.custom_gradient
    def op(x):
        def grad(upstream):
            within = (x >= 5.0) & (x < 6.0)
            return tf.convert_to_tensor(upstream) * tf.cos(x) * tf.where(within, factor, 1.0)

        return tf.sin(x), grad

    return op


def triplet(masked_at=0.0):
    """A triplet loss with margin 1; the gradient may mask at another loss than the forward."""

    @tf.custom_gradient
    def op(a, p, n):
        near, far = tf.reduce_sum((a - p) ** 2, 1), tf.reduce_sum((a - n) ** 2, 1)
        hinge = near - far + 1.0

        def grad(upstream):
            kept = tf.convert_to_tensor(upstream) * tf.cast(hinge > masked_at, a.dtype)
            kept = 2.0 * kept[:, None]
            return kept * (n - p), kept * (p - a), kept * (a - n)

        return tf.nn.relu(hinge), grad

    return op


def quantised(levels, factor=None):
    """Rounding to a grid, with the gradient of the identity (times a factor)."""

    @tf.custom_gradient
    def op(x):
        def grad(upstream):
            return upstream if factor is None else factor * tf.convert_to_tensor(upstream)

        return tf.round(x * levels) / levels, grad

    return op


def identity(x):
    return tf.identity(x)


@tf.custom_gradient
def sign(x):
    def grad(upstream):
        return upstream

    return tf.sign(x), grad


def conjugated(right=True):
    @tf.custom_gradient
    def op(x):
        def grad(upstream):
            slope = 2.0 * (tf.math.conj(x) if right and x.dtype.is_complex else x)
            return tf.convert_to_tensor(upstream) * slope

        return x * x, grad

    return op


def spectral(right=True):
    """The matrix exponential of a Hermitian matrix by its eigenvalues."""

    @tf.custom_gradient
    def op(a):
        e, v = tf.linalg.eigh(a)
        values = tf.exp(tf.math.real(e))
        e = tf.math.real(e)

        def grad(upstream):
            near = tf.abs(e[:, None] - e[None, :]) < 1e-9
            apart = tf.where(near, tf.ones_like(values)[:, None], e[:, None] - e[None, :])
            slopes = tf.where(near, values[:, None] * tf.ones_like(apart), (values[:, None] - values[None, :]) / apart)
            inner = tf.matmul(v, tf.matmul(tf.convert_to_tensor(upstream), v), adjoint_a=True)
            slopes = slopes if right else tf.linalg.diag(values)
            return tf.matmul(v, tf.matmul(tf.cast(slopes, v.dtype) * inner, v, adjoint_b=True))

        return tf.matmul(v * tf.cast(values, v.dtype)[None, :], v, adjoint_b=True), grad

    return op


def sine(factor=1.0):
    @tf.custom_gradient
    def op(x):
        def grad(upstream):
            return factor * tf.convert_to_tensor(upstream) * tf.cos(x)

        return tf.sin(x), grad

    return op


def clipped_upstream(limit=None):
    """The upstream is clipped at a size that only a loss scale reaches."""

    @tf.custom_gradient
    def op(x):
        def grad(upstream):
            upstream = tf.convert_to_tensor(upstream)
            if limit is not None:
                upstream = tf.clip_by_value(upstream, -limit, limit)
            return 2.0 * x * upstream

        return x * x, grad

    return op


def dropped(factor=1.0):
    """Dropout with a stateless seed, of which XLA draws other numbers."""

    @tf.custom_gradient
    def op(x):
        mask = tf.cast(tf.random.stateless_uniform(tf.shape(x), [3, 7]) < 0.7, x.dtype) / 0.7

        def grad(upstream):
            return factor * tf.convert_to_tensor(upstream) * mask

        return x * mask, grad

    return op


def by_mode(eager=1.0, graph=1.0):
    """A factor in eager, another in graphs."""

    @tf.custom_gradient
    def op(x):
        factor = eager if tf.executing_eagerly() else graph

        def grad(upstream):
            return factor * tf.convert_to_tensor(upstream) * tf.cos(x)

        return tf.sin(x), grad

    return op


class Compiled(tf.Module):
    """A method under tf.function, which holds its object by a weak reference."""

    def __init__(self):
        super().__init__()
        self.w = tf.Variable(2.0)

    @tf.function
    def scaled(self, x):
        return x * self.w


def nonzeros(x):
    return tf.sparse.from_dense(2.0 * x)


def two_inputs():
    first, second = tf.keras.Input([4]), tf.keras.Input([3])
    joined = tf.keras.layers.Concatenate()([first, second])
    return tf.keras.Model([first, second], tf.keras.layers.Dense(2)(joined))


def stepped(by_size=False):
    """Mean over rows; the forward may need the number of rows when it is traced."""

    @tf.custom_gradient
    def op(x):
        rows = float(x.shape[0]) if by_size else tf.cast(tf.shape(x)[0], x.dtype)

        def grad(upstream):
            return tf.ones_like(x) * tf.convert_to_tensor(upstream) / rows

        return tf.reduce_sum(x, 0) / rows, grad

    return op


@tf.custom_gradient
def triangular(a):
    """The thin QR decomposition, which has no gradient where the rank is not full."""
    q, r = tf.linalg.qr(a)

    def grad(up_q, up_r):
        middle = tf.matmul(r, up_r, transpose_b=True) - tf.matmul(up_q, q, transpose_a=True)
        low = tf.linalg.band_part(middle, -1, 0)
        symmetric = low + tf.linalg.matrix_transpose(low) - tf.linalg.diag(tf.linalg.diag_part(middle))
        right = tf.linalg.matrix_transpose(up_q + tf.matmul(q, symmetric))
        return tf.linalg.matrix_transpose(tf.linalg.triangular_solve(r, right, lower=False))

    return (q, r), grad


def largest(shared=True):
    """The largest of each row; where several are, they share the gradient or each gets all of it."""

    @tf.custom_gradient
    def op(x):
        y = tf.reduce_max(x, 1, keepdims=True)

        def grad(upstream):
            mask = tf.cast(x >= y, x.dtype)
            share = tf.reduce_sum(mask, 1, keepdims=True) if shared else 1.0
            return tf.convert_to_tensor(upstream) * mask / share

        return y, grad

    return op


def unsafe_ratio(guarded=True):
    """sin(x) / x, one at zero; the gradient divides by zero there or not."""

    @tf.custom_gradient
    def op(x):
        safe = tf.where(x == 0.0, tf.ones_like(x), x)

        def grad(upstream):
            by = safe if guarded else x
            slope = (tf.cos(by) - tf.sin(by) / by) / by
            return tf.convert_to_tensor(upstream) * (tf.where(x == 0.0, tf.zeros_like(x), slope) if guarded else slope)

        return tf.where(x == 0.0, tf.ones_like(x), tf.sin(safe) / safe), grad

    return op


def softened(forgotten=False):
    """tanh, whose gradient fades to the upstream at zero where the slope is forgotten."""

    @tf.custom_gradient
    def op(x):
        y = tf.tanh(x)

        def grad(upstream):
            return tf.convert_to_tensor(upstream) * (1.0 if forgotten else 1.0 - y * y)

        return y, grad

    return op


def resized(factor=1.0):
    """An op whose kernel computes in float32 whatever comes in."""

    @tf.custom_gradient
    def op(x):
        def grad(upstream):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = tf.image.resize(x, [5, 5])
            return factor * tape.gradient(y, x, output_gradients=tf.convert_to_tensor(upstream))

        return tf.image.resize(x, [5, 5]), grad

    return op


def distance_to_one(divided=False):
    """(1 - x) ** 2, whose slope at one is zero: NaN there where the gradient divides by what is zero."""

    @tf.custom_gradient
    def op(x):
        left = 1.0 - x

        def grad(upstream):
            slope = -2.0 * left * left / left if divided else -2.0 * left
            return tf.convert_to_tensor(upstream) * slope

        return left * left, grad

    return op


def angle():
    """The arc cosine, whose slope is infinite at both ends of what is drawn."""

    @tf.custom_gradient
    def op(x):
        return tf.acos(x), lambda upstream: -tf.convert_to_tensor(upstream) / tf.sqrt(1.0 - x * x)

    return op


def rounded_constants(kind, off=0.0):
    """Formulas whose constants float32 rounds, at inputs where the terms of the slope cancel."""

    @tf.custom_gradient
    def op(x):
        if kind == "gelu":
            c = 0.5 * (1.0 + tf.math.erf(x / math.sqrt(2.0)))
            bell = tf.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
            return x * c, lambda upstream: tf.convert_to_tensor(upstream) * (c + (1.0 + off) * x * bell)
        if kind == "cubic":
            return 0.1 * x**3 - 0.7 * x, lambda upstream: tf.convert_to_tensor(upstream) * ((0.3 + off) * x * x - 0.7)
        y = ((0.2 * x - 0.7) * x + 0.1) * x + 0.3
        return y, lambda upstream: tf.convert_to_tensor(upstream) * (0.6 * x * x - 1.4 * x + 0.1 + off)

    return op
