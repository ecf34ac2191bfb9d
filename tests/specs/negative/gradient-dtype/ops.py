import tensorflow as tf


@tf.custom_gradient
def square(x):
    return x * x, lambda upstream: upstream * 2.0 * x


@tf.custom_gradient
def square_wide(x):
    return x * x, lambda upstream: tf.cast(upstream * 2.0 * x, tf.float64)
