import tensorflow as tf


@tf.custom_gradient
def scale(x, alpha):
    return x * alpha, lambda upstream: (upstream * alpha, None)


@tf.custom_gradient
def scale_short(x, alpha):
    return x * alpha, lambda upstream: upstream * alpha


@tf.custom_gradient
def square_twice(x):
    return x * x, lambda upstream: (upstream * 2.0 * x, upstream)
