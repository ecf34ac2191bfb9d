"""Ops with several switches, levels, labels and masks that the sample does not turn, each right and wrong."""

import tensorflow as tf


def both(factor=2.0):
    """Square where both flags hold; wrong: another factor there."""

    @tf.custom_gradient
    def op(x, a, b):
        chosen = tf.logical_and(a, b)

        def grad(upstream):
            return tf.where(chosen, factor * x, tf.ones_like(x)) * upstream, None, None

        return tf.where(chosen, x * x, x), grad

    return op


def flag_and_large(factor=2.0):
    """Square what is above 2 if a flag holds; wrong: another factor there."""

    @tf.custom_gradient
    def op(x, flag):
        chosen = tf.logical_and(flag, x > 2.0)

        def grad(upstream):
            return tf.where(chosen, factor * x, tf.ones_like(x)) * upstream, None

        return tf.where(chosen, x * x, x), grad

    return op


def level_and_large(factor=2.0):
    """Square what is above 2 from a level on; wrong: another factor there."""

    @tf.custom_gradient
    def op(x, level):
        chosen = tf.logical_and(level > 3, x > 2.0)

        def grad(upstream):
            return tf.where(chosen, factor * x, tf.ones_like(x)) * upstream, None

        return tf.where(chosen, x * x, x), grad

    return op


def two_modes(sign=1.0):
    """Sine in one pair of modes, cosine in all others; wrong: minus the slope in that pair."""

    @tf.custom_gradient
    def op(x, kind, norm):
        special = tf.logical_and(tf.equal(kind, 2), tf.equal(norm, 1))

        def grad(upstream):
            slope = tf.cond(special, lambda: sign * tf.cos(x), lambda: -tf.sin(x))
            return slope * upstream, None, None

        return tf.cond(special, lambda: tf.sin(x), lambda: tf.cos(x)), grad

    return op


def looked_up(factor=1.0):
    """Rows by ids; wrong: all of the gradient twice if the last id is 0."""

    @tf.custom_gradient
    def op(table, ids):
        def grad(upstream):
            given = tf.scatter_nd(ids[:, None], upstream, tf.shape(table, out_type=ids.dtype))
            return tf.cond(tf.equal(ids[-1], 0), lambda: factor * given, lambda: given), None

        return tf.gather(table, ids), grad

    return op


def masked(right=True):
    """Rows where a mask holds; wrong: the first row's gradient as if it always held."""

    @tf.custom_gradient
    def op(x, mask):
        kept = tf.cast(mask, x.dtype)

        def grad(upstream):
            first = kept[:1] if right else tf.ones_like(kept[:1])
            return tf.concat([first, kept[1:]], 0) * upstream, None

        return x * kept, grad

    return op


def edge_lengths():
    """The length of each edge between two different nodes."""

    @tf.custom_gradient
    def op(nodes, edges):
        ends = tf.gather(nodes, edges[:, 0]) - tf.gather(nodes, edges[:, 1])
        length = tf.norm(ends, axis=-1)

        def grad(upstream):
            along = tf.math.divide_no_nan(ends * upstream[:, None], length[:, None])
            both = tf.concat([along, -along], 0)
            places = tf.concat([edges[:, 0], edges[:, 1]], 0)
            return tf.math.unsorted_segment_sum(both, places, tf.shape(nodes)[0]), None

        return length, grad

    return op
