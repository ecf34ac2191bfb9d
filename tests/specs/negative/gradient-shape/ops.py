import tensorflow as tf


@tf.custom_gradient
def add(x, b):
    return x + b, lambda upstream: (upstream, tf.reduce_sum(upstream, 0))


@tf.custom_gradient
def add_unreduced(x, b):
    return x + b, lambda upstream: (upstream, upstream)


@tf.custom_gradient
def add_over_reduced(x, b):
    return x + b, lambda upstream: (upstream, tf.reduce_sum(upstream))


@tf.custom_gradient
def transposed(a, b):
    return tf.matmul(a, b), lambda upstream: (
        tf.transpose(tf.matmul(upstream, b, transpose_b=True)),
        tf.matmul(a, upstream, transpose_a=True),
    )
