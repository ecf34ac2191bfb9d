import tensorflow as tf


@tf.custom_gradient
def square(x):
    return x * x, lambda upstream: upstream * 2.0 * x


def plain(x):
    return tf.square(x)


def other(x):
    return tf.square(x) + 1.0
