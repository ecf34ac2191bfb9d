import tensorflow as tf


w = tf.Variable([1.0, 2.0, 3.0], name="w")
b = tf.Variable([0.5, 0.5, 0.5], name="b")


@tf.custom_gradient
def affine(x):
    weight, bias = tf.convert_to_tensor(w), tf.convert_to_tensor(b)

    def grad(upstream, variables=None):
        known = {w.ref(): tf.reduce_sum(upstream * x, 0), b.ref(): tf.reduce_sum(upstream, 0)}
        return upstream * weight, [known[v.ref()] for v in variables]

    return x * weight + bias, grad


@tf.custom_gradient
def affine_by_position(x):
    def grad(upstream, variables=None):
        return upstream * w, [tf.reduce_sum(upstream * x, 0), tf.reduce_sum(upstream, 0)]

    return x * w + b, grad
