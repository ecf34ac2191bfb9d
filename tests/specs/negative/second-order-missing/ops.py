import tensorflow as tf


@tf.custom_gradient
def cube(x):
    return x**3, lambda upstream: upstream * 3.0 * x * x


@tf.custom_gradient
def linear(x):
    """A linear op has no second derivative, None is right."""
    return 3.0 * x, lambda upstream: 3.0 * upstream


@tf.custom_gradient
def cube_stopped(x):
    fixed = tf.stop_gradient(x)
    return x**3, lambda upstream: upstream * 3.0 * fixed * fixed
