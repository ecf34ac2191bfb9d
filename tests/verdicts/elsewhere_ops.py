"""Ops whose gradient is right at the sample and may be wrong at other inputs."""

import tensorflow as tf

_WHERE = {
    "far": lambda x: x > 3.0,
    "sum": lambda x: tf.reduce_sum(x) > 30.0,
    "near": lambda x: tf.abs(x) < 1e-3,
}


def squared(where=None):
    """A square; traced, its gradient may be another one somewhere."""

    @tf.custom_gradient
    def op(x):
        def grad(upstream):
            g = 2.0 * x
            if where is not None and not tf.executing_eagerly():
                g = tf.where(_WHERE[where](x), g + 1.0, g)
            return tf.convert_to_tensor(upstream) * g

        return x * x, grad

    return op


@tf.custom_gradient
def special_functions(x):
    """Functions that XLA computes by formulas of its own."""

    def grad(upstream):
        return upstream * (tf.math.digamma(x) + 2.0 / tf.sqrt(tf.constant(3.141592653589793, x.dtype)) * tf.exp(-x * x))

    return tf.math.lgamma(x) + tf.math.erf(x), grad


@tf.custom_gradient
def ties_with_rounding(x):
    """The distance to a mean, whose sign rounding decides where all are equal."""
    gap = x - tf.reduce_mean(x, -1, keepdims=True)

    def grad(upstream):
        g = tf.convert_to_tensor(upstream) * tf.sign(gap)
        return g - tf.reduce_mean(g, -1, keepdims=True)

    return tf.abs(gap), grad


def _total(x):
    return tf.reduce_logsumexp(tf.nn.log_softmax(tf.math.erf(x)), -1)


@tf.custom_gradient
def total_of_probabilities(x):
    """The log of one, of which rounding is all that is left."""

    def grad(upstream):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = _total(x)
        return tape.gradient(y, x, output_gradients=upstream)

    return _total(x), grad


def cross_entropy(reads=True):
    """A loss of integer labels; the gradient may hold one class."""

    def op(logits, labels):
        chosen = labels if reads else tf.ones_like(labels)

        @tf.custom_gradient
        def loss(z):
            def grad(upstream):
                wanted = tf.one_hot(chosen, z.shape[-1], dtype=z.dtype)
                return tf.convert_to_tensor(upstream)[:, None] * (tf.nn.softmax(z) - wanted)

            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, z), grad

        return loss(logits)

    return op


def of_lengths(reads=True):
    """A sum of what lies within each row's length; the gradient may take all of it."""

    def op(x, lengths):
        mask = tf.sequence_mask(lengths, x.shape[-1], dtype=x.dtype)

        @tf.custom_gradient
        def total(x):
            def grad(upstream):
                g = tf.convert_to_tensor(upstream)[:, None] * tf.cos(x)
                return g * mask if reads else g

            return tf.reduce_sum(mask * tf.sin(x), -1), grad

        return total(x)

    return op


def powers(reads=True):
    """x ** n of given exponents; the gradient may know one of them."""

    def op(x, n):
        exponent = tf.cast(n, x.dtype)

        @tf.custom_gradient
        def power(x):
            def grad(upstream):
                return upstream * (exponent * tf.pow(x, exponent - 1.0) if reads else 2.0 * x)

            return tf.pow(x, exponent), grad

        return power(x)

    return op


def _nearest(x, codes):
    return tf.argmin(tf.reduce_sum((x[:, None] - codes[None]) ** 2, -1), -1)


def nearest_code(adds=True):
    """The nearest code of each row, with a straight-through gradient; of two rows with one code one may be lost."""

    @tf.custom_gradient
    def op(x, codes):
        chosen = _nearest(x, codes)

        def grad(upstream):
            u, nothing = tf.convert_to_tensor(upstream), tf.zeros_like(codes)
            scatter = tf.tensor_scatter_nd_add if adds else tf.tensor_scatter_nd_update
            return u, scatter(nothing, chosen[:, None], u)

        return tf.gather(codes, chosen), grad

    return op


def to_codes(x, codes, upstream):
    return upstream, tf.math.unsorted_segment_sum(upstream, _nearest(x, codes), codes.shape[0])


def clipped_rows(adds=True):
    """Rows of a table whose gradient is clipped; of two uses of one row one may be lost."""

    @tf.custom_gradient
    def op(table, ids):
        def grad(upstream):
            u = tf.clip_by_value(tf.convert_to_tensor(upstream), -1.0, 1.0)
            scatter = tf.tensor_scatter_nd_add if adds else tf.tensor_scatter_nd_update
            return scatter(tf.zeros_like(table), ids[:, None], u), None

        return tf.gather(table, ids), grad

    return op


def clipped_rows_vjp(table, ids, upstream):
    return tf.math.unsorted_segment_sum(tf.clip_by_value(upstream, -1.0, 1.0), ids, table.shape[0]), None
