import tensorflow as tf


@tf.custom_gradient
def cube(x):
    return x**3, lambda upstream: upstream * 3.0 * x * x


@tf.custom_gradient
def slope(x):
    """The gradient of cube, with a wrong gradient of its own."""
    return 3.0 * x * x, lambda upstream: upstream * 5.0 * x


@tf.custom_gradient
def cube_wrong_slope(x):
    return x**3, lambda upstream: upstream * slope(x)
