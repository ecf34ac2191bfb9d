import tensorflow as tf


SCALE = tf.constant([1.0, 2.0, 3.0])


@tf.custom_gradient
def scale(x, factor):
    return x * factor, lambda upstream: (upstream * factor, tf.reduce_sum(upstream * x, 0))


@tf.custom_gradient
def scale_captured(x):
    return x * SCALE, lambda upstream: upstream * SCALE
