import tensorflow as tf


def rounded(x):
    return tf.round(x)


@tf.custom_gradient
def rounded_straight_through(x):
    return tf.round(x), lambda upstream: upstream


def identity(x):
    return x


def softened(x):
    return x - tf.sin(6.2832 * x) / 6.2832
