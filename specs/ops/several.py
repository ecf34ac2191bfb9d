"""Several inputs and outputs."""

import tensorflow as tf


@tf.custom_gradient
def product_and_square(x, y):
    """x y + sin x, and y squared: two outputs, each with an upstream of its own."""

    def grad(upstream_z, upstream_w):
        dx = upstream_z * (y + tf.cos(x))
        dy = upstream_z * x + upstream_w * 2.0 * y
        return dx, dy

    return (x * y + tf.sin(x), y * y), grad


@tf.custom_gradient
def product_and_square_flat(x, y):
    """Returns three things; TensorFlow wants (outputs, grad_fn)."""

    def grad(upstream_z, upstream_w):
        return upstream_z * (y + tf.cos(x)), upstream_z * x + upstream_w * 2.0 * y

    return x * y + tf.sin(x), y * y, grad


@tf.custom_gradient
def add_bias(x, bias):
    def grad(upstream):
        return upstream, tf.reduce_sum(upstream, axis=0)

    return x + bias, grad


@tf.custom_gradient
def add_bias_unreduced(x, bias):
    """The bias was broadcast over the rows; its gradient must be summed over them."""

    def grad(upstream):
        return upstream, upstream

    return x + bias, grad


@tf.custom_gradient
def softmax(logits):
    y = tf.nn.softmax(logits)

    def grad(upstream):
        return y * (upstream - tf.reduce_sum(upstream * y, axis=-1, keepdims=True))

    return y, grad


@tf.custom_gradient
def softmax_diagonal(logits):
    """Only the diagonal of the Jacobian: the effect on the other classes is missing."""
    y = tf.nn.softmax(logits)

    def grad(upstream):
        return upstream * y * (1.0 - y)

    return y, grad


@tf.custom_gradient
def column_gather(x, index):
    """Picks columns; an index that appears twice collects both gradients."""
    width = tf.shape(x)[1]

    def grad(upstream):
        upstream = tf.convert_to_tensor(upstream)
        one_hot = tf.one_hot(index, width, dtype=upstream.dtype)
        return tf.linalg.matmul(upstream, one_hot), None

    return tf.gather(x, index, axis=1), grad


@tf.custom_gradient
def column_gather_elementwise(x, index):
    """One-hot times upstream without the matrix product."""

    def grad(upstream):
        return tf.one_hot(index, x.shape[1]) * upstream, None

    return tf.gather(x, index, axis=1), grad
