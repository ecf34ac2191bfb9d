"""Right ops of about 10,000 elements, for the time that exact arithmetic takes."""

import tensorflow as tf


@tf.custom_gradient
def softplus(x):
    """Return log(1 + exp(x))."""
    return tf.math.log1p(tf.exp(x)), lambda upstream: upstream * tf.sigmoid(x)


@tf.custom_gradient
def attention(q, k, v):
    """Return softmax(q k^T) v."""
    weights = tf.nn.softmax(tf.matmul(q, k, transpose_b=True))

    def grad(upstream):
        dw = tf.matmul(upstream, v, transpose_b=True)
        ds = weights * (dw - tf.reduce_sum(weights * dw, -1, keepdims=True))
        return tf.matmul(ds, k), tf.matmul(ds, q, transpose_a=True), tf.matmul(weights, upstream, transpose_a=True)

    return tf.matmul(weights, v), grad


@tf.custom_gradient
def normalised(x, scale):
    """Return rows without their mean, divided by their root mean square, times a scale."""
    centred = x - tf.reduce_mean(x, -1, keepdims=True)
    inverse = tf.math.rsqrt(tf.reduce_mean(tf.square(centred), -1, keepdims=True) + 1e-3)
    y = centred * inverse

    def grad(upstream):
        dy = upstream * scale
        mean = tf.reduce_mean(dy, -1, keepdims=True)
        dx = inverse * (dy - mean - y * tf.reduce_mean(dy * y, -1, keepdims=True))
        return dx, tf.reduce_sum(upstream * y, 0)

    return y * scale, grad
