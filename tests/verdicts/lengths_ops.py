"""Ops that take any length, with gradients that may be right for some lengths only."""

import tensorflow as tf


def pair_products(single=0.0):
    """Products of the first and the second half; one number more than pairs has no part in them."""

    @tf.custom_gradient
    def op(x):
        half = x.shape[0] // 2
        first, second = x[:half], x[half : 2 * half]

        def grad(u):
            slopes = tf.concat([u * second, u * first], 0)
            return tf.concat([slopes, single * tf.ones_like(x[2 * half :])], 0)

        return first * second, grad

    return op


def pair_energy(single=0.0):
    """Squares added up pair by pair; a last single one is left out."""

    @tf.custom_gradient
    def op(x):
        pairs = x.shape[1] // 2
        whole = x[:, : 2 * pairs]

        def grad(u):
            slopes = 2.0 * whole * tf.repeat(u, 2, axis=1)
            return tf.concat([slopes, single * x[:, 2 * pairs :]], 1)

        return tf.reduce_sum(tf.reshape(whole, [-1, pairs, 2]) ** 2, 2), grad

    return op


def median(both=True):
    """The median of each row; of an even length the mean of two."""

    @tf.custom_gradient
    def op(x):
        size = x.shape[-1]
        low, high = (size - 1) // 2, size // 2
        ordered, order = tf.sort(x, -1), tf.argsort(x, -1)

        def grad(u):
            u = tf.convert_to_tensor(u)[..., None]
            lower = u * tf.one_hot(order[..., low], size, dtype=x.dtype)
            upper = u * tf.one_hot(order[..., high], size, dtype=x.dtype)
            return 0.5 * (lower + upper) if both else lower

        return 0.5 * (ordered[..., low] + ordered[..., high]), grad

    return op


def strided_filter(before=None):
    """A filter of three numbers with a stride of two: of an even length the padding is behind alone."""

    @tf.custom_gradient
    def op(x):
        kernel = tf.constant([1.0, 2.0, 3.0], x.dtype)
        length = x.shape[1]
        pad = length % 2 if before is None else before

        def grad(u):
            u = tf.convert_to_tensor(u)
            spread = tf.reshape(tf.stack([u, tf.zeros_like(u)], -1), [-1, 2 * u.shape[1]])
            spread = tf.pad(spread, [[0, 0], [2 - pad, 4]])
            return sum(kernel[i] * spread[:, 2 - i : 2 - i + length] for i in range(3))

        return tf.nn.conv1d(x[..., None], kernel[:, None, None], 2, "SAME")[..., 0], grad

    return op


@tf.custom_gradient
def first_quarter(x):
    """An op of four numbers each; of more it takes the first four, which nobody asked for."""
    return x[:, 0] * x[:, 1] + x[:, 2] * x[:, 3], lambda u: u[:, None] * tf.gather(x, [1, 0, 3, 2], axis=1)
