import tensorflow as tf


@tf.custom_gradient
def square(x):
    return x * x, lambda upstream: upstream * 2.0 * x


@tf.custom_gradient
def square_ignoring(x):
    return x * x, lambda upstream: 2.0 * x


@tf.custom_gradient
def square_squared(x):
    return x * x, lambda upstream: upstream * upstream * 2.0 * x


@tf.custom_gradient
def square_clipped(x):
    return x * x, lambda upstream: tf.clip_by_value(upstream, -1.0, 1.0) * 2.0 * x


@tf.custom_gradient
def square_clipped_high(x):
    """Only upstreams far above the usual ones are clipped."""
    return x * x, lambda upstream: tf.clip_by_value(upstream, -100.0, 100.0) * 2.0 * x
