import tensorflow as tf


@tf.custom_gradient
def inner(x):
    return x * x, lambda upstream: tf.convert_to_tensor(upstream) * 2.0 * x


def by_position(x):
    return inner(x)


def by_keyword(x):
    return inner(x=x)
