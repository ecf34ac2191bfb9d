"""Ops with loops and gates, and gradients that mix up their steps and parts."""

import tensorflow as tf


def one_pole(after=False):
    """A filter y[t] = x[t] + a y[t-1]; its gradient may see y[t] in the place of y[t-1]."""

    @tf.custom_gradient
    def op(x, a):
        outputs = [tf.zeros_like(x[:, 0])]
        for t in range(x.shape[1]):
            outputs.append(x[:, t] + a * outputs[-1])

        def grad(u):
            u = tf.convert_to_tensor(u)
            slopes, slope_a, carry = [], tf.zeros_like(a), tf.zeros_like(x[:, 0])
            for t in reversed(range(x.shape[1])):
                carry += u[:, t]
                slopes.append(carry)
                if t > 0:
                    slope_a += tf.reduce_sum(carry * outputs[t + 1 if after else t], 0)
                carry *= a
            return tf.stack(slopes[::-1], 1), slope_a

        return tf.stack(outputs[1:], 1), grad

    return op


def power_series(later=0):
    """The exponential of a matrix times a vector, by five terms; its gradient may see a later term."""

    @tf.custom_gradient
    def op(a, v):
        terms = [v]
        for k in range(1, 6):
            terms.append(tf.linalg.matvec(a, terms[-1]) / k)

        def grad(u):
            carry, slope = u, tf.zeros_like(a)
            for k in range(5, 0, -1):
                slope += carry[:, None] * terms[k - 1 + later][None, :] / k
                carry = u + tf.linalg.matvec(a, carry, transpose_a=True) / k
            return slope, carry

        return tf.add_n(terms), grad

    return op


def gates(order=(0, 1, 2)):
    """Three gates of one product, which its gradient may put together in another order."""

    @tf.custom_gradient
    def op(x, w):
        a, b, c = tf.split(tf.matmul(x, w), 3, axis=1)
        opened, kept, new = tf.sigmoid(a), tf.sigmoid(b), tf.tanh(c)

        def grad(u):
            parts = [u * kept * opened * (1 - opened), u * opened * kept * (1 - kept), u * (1 - new * new)]
            whole = tf.concat([parts[i] for i in order], axis=1)
            return tf.matmul(whole, w, transpose_b=True), tf.matmul(x, whole, transpose_a=True)

        return opened * kept + new, grad

    return op


def moments(order=(0, 1)):
    """Mean and standard deviation beside each other; the halves of the upstream may be exchanged."""

    @tf.custom_gradient
    def op(x):
        mean = tf.reduce_mean(x, 1, keepdims=True)
        apart = x - mean
        spread = tf.sqrt(tf.reduce_mean(apart * apart, 1, keepdims=True) + 1e-3)

        def grad(u):
            halves = tf.split(tf.convert_to_tensor(u)[:, None, :], 2, axis=-1)
            of_mean, of_spread = halves[order[0]], halves[order[1]]
            count = tf.cast(x.shape[1], x.dtype)
            return of_mean / count + of_spread * apart / (spread * count)

        return tf.concat([mean, spread], -1)[:, 0], grad

    return op


def log_rising(shift=1.0):
    """A ratio of gamma functions in logarithms; its gradient may take digamma without the shift."""

    @tf.custom_gradient
    def op(x):
        def grad(u):
            return u * (tf.math.digamma(x + shift) - 3.0 * tf.math.digamma(x))

        return tf.math.lgamma(x + 1.0) - 3.0 * tf.math.lgamma(x), grad

    return op
