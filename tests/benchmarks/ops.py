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
