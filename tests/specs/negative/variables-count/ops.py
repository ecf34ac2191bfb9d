import tensorflow as tf


w = tf.Variable([1.0, 2.0, 3.0], name="w")


@tf.custom_gradient
def scale(x):
    weight = tf.convert_to_tensor(w)

    def grad(upstream, variables=None):
        return upstream * weight, [tf.reduce_sum(upstream * x, 0)]

    return x * weight, grad


@tf.custom_gradient
def scale_no_list(x):
    def grad(upstream, variables=None):
        return upstream * w

    return x * w, grad


@tf.custom_gradient
def scale_empty(x):
    def grad(upstream, variables=None):
        return upstream * w, []

    return x * w, grad
