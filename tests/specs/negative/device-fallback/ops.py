import tensorflow as tf


@tf.custom_gradient
def square(x):
    return x * x, lambda upstream: upstream * 2.0 * x


def square_pinned(x):
    """Pins its value to the first CPU, whatever device it is asked to run on."""
    with tf.device("/CPU:0"):
        return x * x
