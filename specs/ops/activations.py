"""Element-wise activations with gradients of their own, and as people first write them."""

import tensorflow as tf


@tf.custom_gradient
def sine(x):
    """Sine, as in periodic networks."""

    def grad(upstream):
        return upstream * tf.cos(x)

    return tf.sin(x), grad


@tf.custom_gradient
def square(x):
    def grad(upstream):
        return upstream * 2.0 * x

    return x * x, grad


@tf.custom_gradient
def square_factor(x):
    """The factor is 3 where it should be 2."""

    def grad(upstream):
        return upstream * 3.0 * x

    return x * x, grad


@tf.custom_gradient
def double_above_zero(x):
    """2 x above zero, x below: a kink at zero."""

    def grad(upstream):
        return tf.where(x > 0.0, 2.0 * upstream, upstream)

    return tf.where(x > 0.0, 2.0 * x, x), grad


@tf.custom_gradient
def leaky_relu(x):
    def grad(upstream):
        return tf.where(x > 0.0, upstream, 0.2 * upstream)

    return tf.where(x > 0.0, x, 0.2 * x), grad


@tf.custom_gradient
def leaky_relu_sign(x):
    """The slope below zero has the wrong sign."""

    def grad(upstream):
        return tf.where(x > 0.0, upstream, -0.2 * upstream)

    return tf.where(x > 0.0, x, 0.2 * x), grad


@tf.custom_gradient
def log1pexp(x):
    """log(1 + exp(x)) without overflow: the value and the gradient stay finite at any x."""

    def grad(upstream):
        return upstream * tf.sigmoid(x)

    return tf.maximum(x, 0.0) + tf.math.log1p(tf.exp(-tf.abs(x))), grad


@tf.custom_gradient
def log1pexp_overflowing(x):
    """The gradient is stable, the forward is not: exp overflows in float32 above 88."""
    e = tf.exp(x)

    def grad(upstream):
        return upstream * (1.0 - 1.0 / (1.0 + e))

    return tf.math.log(1.0 + e), grad


def log1pexp_naive(x):
    """No custom gradient: TensorFlow differentiates exp and log, inf / inf at large x."""
    return tf.math.log(1.0 + tf.exp(x))


def conditional(x):
    """x squared above zero, else x, chosen per element."""
    return tf.where(x > 0.0, x * x, x)


def conditional_scalar(x):
    """The same for a scalar, with tf.cond."""
    return tf.cond(x > 0.0, lambda: x * x, lambda: x)


def conditional_vector(x):
    """tf.cond wants a scalar predicate; with a vector it raises."""
    return tf.cond(x > 0.0, lambda: x * x, lambda: x)


@tf.custom_gradient
def quantize(x):
    """Rounding with a straight-through gradient."""

    def grad(upstream):
        return upstream

    return tf.round(x), grad


def identity(x):
    return x


@tf.custom_gradient
def reverse(x):
    """Gradient reversal: identity forward, minus the gradient backward."""

    def grad(upstream):
        return -upstream

    return tf.identity(x), grad


def negate(x):
    return -x


@tf.custom_gradient
def clip_gradient(x):
    """Identity forward; the gradient is clipped to [-1, 1], which no function's derivative is."""

    def grad(upstream):
        return tf.clip_by_value(upstream, -1.0, 1.0)

    return tf.identity(x), grad


def clipped(x, upstream):
    return tf.clip_by_value(upstream, -1.0, 1.0)
