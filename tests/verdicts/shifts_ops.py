"""Ops whose forward subtracts the largest of a row, which changes nothing: no gradient is written for it."""

import tensorflow as tf

GROUPS = tf.constant([0, 1, 0, 2, 1, 2])


def softmax(with_sum=True):
    """A softmax by hand."""

    @tf.custom_gradient
    def op(x):
        e = tf.exp(x - tf.reduce_max(x, -1, keepdims=True))
        y = e / tf.reduce_sum(e, -1, keepdims=True)

        def grad(u):
            total = tf.reduce_sum(u * y, -1, keepdims=True) if with_sum else 0.0
            return y * (u - total)

        return y, grad

    return op


def log_of_sum(normalised=True):
    """The logarithm of a sum of exponentials by hand."""

    @tf.custom_gradient
    def op(x):
        largest = tf.reduce_max(x, -1, keepdims=True)
        e = tf.exp(x - largest)
        total = tf.reduce_sum(e, -1, keepdims=True)

        def grad(u):
            return u[:, None] * (e / total if normalised else e)

        return tf.squeeze(tf.math.log(total) + largest, -1), grad

    return op


def segments(with_mean=True):
    """A softmax over the edges of a graph, by hand, times a value of each."""

    @tf.custom_gradient
    def op(x, values):
        e = tf.exp(x - tf.gather(tf.math.unsorted_segment_max(x, GROUPS, 3), GROUPS))
        a = e / tf.gather(tf.math.unsorted_segment_sum(e, GROUPS, 3), GROUPS)

        def grad(u):
            da = tf.gather(u, GROUPS) * values
            mean = tf.gather(tf.math.unsorted_segment_sum(a * da, GROUPS, 3), GROUPS)
            return a * (da - mean if with_mean else da), a * tf.gather(u, GROUPS)

        return tf.math.unsorted_segment_sum(a * values, GROUPS, 3), grad

    return op
