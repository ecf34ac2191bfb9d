import tensorflow as tf


@tf.custom_gradient
def square(x):
    return x * x, lambda upstream: upstream * 2.0 * x


@tf.custom_gradient
def square_by_mode(x):
    factor = 2.0 if tf.executing_eagerly() else 3.0
    return x * x, lambda upstream: upstream * factor * x


@tf.custom_gradient
def minus_row_mean(x):
    """A tie: elements equal to their row mean flip between eager and XLA, which is no mode bug."""
    above = tf.cast(x > tf.reduce_mean(x, -1, keepdims=True), x.dtype)
    return x * above, lambda upstream: upstream * above
