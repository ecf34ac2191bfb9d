import tensorflow as tf


@tf.custom_gradient
def square(x):
    return x * x, lambda upstream: upstream * 2.0 * x


@tf.custom_gradient
def square_alone(x):
    return x * x


@tf.custom_gradient
def with_state(x):
    return x * x, x + 1.0
