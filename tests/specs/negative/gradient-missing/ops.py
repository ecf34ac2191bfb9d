import tensorflow as tf


@tf.custom_gradient
def pick(x, threshold):
    """The output does not depend on the threshold's value here, so None is right."""
    del threshold
    return x * x, lambda upstream: (upstream * 2.0 * x, None)


@tf.custom_gradient
def square_none(x):
    def grad(upstream):
        upstream * 2.0 * x

    return x * x, grad
