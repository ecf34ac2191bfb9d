"""Ops whose checks are timed."""

import tensorflow as tf


@tf.custom_gradient
def elementwise(x):
    def grad(upstream):
        return tf.convert_to_tensor(upstream) * (tf.cos(x) * x + tf.sin(x))

    return tf.sin(x) * x, grad


@tf.custom_gradient
def one_wrong(x):
    def grad(upstream):
        factor = tf.where(tf.range(tf.size(x)) == 4321, tf.constant(1.01, x.dtype), tf.constant(1.0, x.dtype))
        return tf.convert_to_tensor(upstream) * factor * (tf.cos(x) * x + tf.sin(x))

    return tf.sin(x) * x, grad


@tf.custom_gradient
def product(a, b):
    def grad(upstream):
        upstream = tf.convert_to_tensor(upstream)
        return tf.matmul(upstream, b, transpose_b=True), tf.matmul(a, upstream, transpose_a=True)

    return tf.matmul(a, b), grad


@tf.custom_gradient
def softplus(x):
    def grad(upstream):
        return upstream * tf.sigmoid(x)

    return tf.maximum(x, 0) + tf.math.log1p(tf.exp(-tf.abs(x))), grad


@tf.custom_gradient
def attention(query, key, value):
    scale = tf.math.rsqrt(tf.cast(tf.shape(query)[-1], query.dtype))
    weights = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) * scale)

    def grad(upstream):
        d_weights = tf.matmul(upstream, value, transpose_b=True)
        d_scores = weights * (d_weights - tf.reduce_sum(d_weights * weights, -1, keepdims=True)) * scale
        d_query = tf.matmul(d_scores, key)
        return d_query, tf.matmul(d_scores, query, transpose_a=True), tf.matmul(weights, upstream, transpose_a=True)

    return tf.matmul(weights, value), grad


@tf.custom_gradient
def layer_norm(x, gain, offset):
    mean = tf.reduce_mean(x, -1, keepdims=True)
    inverse = tf.math.rsqrt(tf.reduce_mean(tf.square(x - mean), -1, keepdims=True) + 1e-5)
    normal = (x - mean) * inverse

    def grad(upstream):
        d_normal = upstream * gain
        centred = d_normal - tf.reduce_mean(d_normal, -1, keepdims=True)
        d_x = inverse * (centred - normal * tf.reduce_mean(d_normal * normal, -1, keepdims=True))
        return d_x, tf.reduce_sum(upstream * normal, 0), tf.reduce_sum(upstream, 0)

    return normal * gain + offset, grad


@tf.custom_gradient
def convolution(x, kernel):
    def grad(upstream):
        d_x = tf.nn.conv2d_transpose(upstream, kernel, tf.shape(x), 1, "SAME")
        return d_x, tf.raw_ops.Conv2DBackpropFilter(
            input=x, filter_sizes=tf.shape(kernel), out_backprop=upstream, strides=[1, 1, 1, 1], padding="SAME"
        )

    return tf.nn.conv2d(x, kernel, 1, "SAME"), grad


@tf.custom_gradient
def cell(x, state, kernel, recurrent):
    new = tf.tanh(tf.matmul(x, kernel) + tf.matmul(state, recurrent))

    def grad(upstream):
        inner = upstream * (1 - tf.square(new))
        return (
            tf.matmul(inner, kernel, transpose_b=True),
            tf.matmul(inner, recurrent, transpose_b=True),
            tf.matmul(x, inner, transpose_a=True),
            tf.matmul(state, inner, transpose_a=True),
        )

    return new, grad


def recurrence(xs, kernel, recurrent):
    """Apply the cell step by step, in a loop of Python."""
    state = tf.zeros([tf.shape(xs)[1], recurrent.shape[0]], xs.dtype)
    for step in range(xs.shape[0]):
        state = cell(xs[step], state, kernel, recurrent)
    return state


def scanned(xs, kernel, recurrent):
    """Apply the cell step by step, in a loop of TensorFlow."""
    state = tf.zeros([tf.shape(xs)[1], recurrent.shape[0]], xs.dtype)
    _, state = tf.while_loop(
        lambda step, _: step < xs.shape[0],
        lambda step, state: (step + 1, cell(xs[step], state, kernel, recurrent)),
        (0, state),
        maximum_iterations=xs.shape[0],
    )
    return state
