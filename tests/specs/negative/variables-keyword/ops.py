import tensorflow as tf


w = tf.Variable([1.0, 2.0, 3.0], name="w")


@tf.custom_gradient
def scale(x):
    weight = tf.convert_to_tensor(w)

    def grad(upstream, variables=None):
        return upstream * weight, [tf.reduce_sum(upstream * x, 0)]

    return x * weight, grad


@tf.custom_gradient
def scale_without(x):
    return x * w, lambda upstream: upstream * w
