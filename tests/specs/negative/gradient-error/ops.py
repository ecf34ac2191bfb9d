import tensorflow as tf


@tf.custom_gradient
def square(x):
    return x * x, lambda upstream: upstream * 2.0 * x


@tf.custom_gradient
def square_assigning(x):
    def grad(upstream):
        result = 2.0 * x
        result[0] = upstream[0]
        return result

    return x * x, grad
