"""Gradients that are wrong on one side of a condition only, and right ones with the same conditions."""

import tensorflow as tf


def base(x):
    return tf.sin(x) + 0.3 * x * x


def slope(x):
    return tf.cos(x) + 0.6 * x


def hidden(where, wrong=2.0):
    """Return a factory of base(x) whose gradient is `wrong` times too large where the condition holds."""

    def make():
        @tf.custom_gradient
        def op(x):
            def grad(up):
                return tf.where(where(x), wrong * up * slope(x), up * slope(x))

            return base(x), grad

        return op

    return make


# One number.
band = hidden(lambda x: (x > 2.415) & (x < 2.43))
band_of_negatives = hidden(lambda x: (x > -5.02) & (x < -4.99), -1.0)
far_band = hidden(lambda x: (x > 41.3) & (x < 41.9))
outside = hidden(lambda x: tf.abs(x) > 128.5, 0.0)
near_a_point = hidden(lambda x: tf.abs(x - 1.7316) < 1e-3)
at_a_point = hidden(lambda x: tf.equal(x, 2.5))
at_zero = hidden(lambda x: tf.equal(x, 0.0), 3.0)
at_integers = hidden(lambda x: tf.equal(x, tf.round(x)), 0.5)
fraction = hidden(lambda x: (x - tf.floor(x) > 0.501) & (x - tf.floor(x) < 0.506))
two_bands = hidden(lambda x: ((x > 3.2) & (x < 3.21)) | ((x < -3.2) & (x > -3.21)))
where_a_wave_peaks = hidden(lambda x: tf.sin(7.0 * x) > 0.9995)
by_a_cubic = hidden(lambda x: x * x * x - 4.0 * x * x + x > 181.0)
by_an_exponential = hidden(lambda x: tf.exp(x) > 4000.0, 0.0)
by_a_logarithm = hidden(lambda x: tf.math.log1p(x * x) > 5.5)


# Rows, sums, norms, products, orders.
row_norm = hidden(lambda x: tf.norm(x, axis=-1, keepdims=True) > 7.25)
small_norm = hidden(lambda x: tf.reduce_sum(x * x, -1, keepdims=True) < 0.011)
row_mean_band = hidden(lambda x: tf.abs(tf.reduce_mean(x, -1, keepdims=True) - 1.93) < 0.01)
total = hidden(lambda x: tf.reduce_sum(x) > 60.0)
product_of_two = hidden(lambda x: x[:, :1] * x[:, 1:2] > 21.0, 0.0)
difference_of_neighbours = hidden(lambda x: tf.abs(x[:, :1] - x[:, 1:2]) < 2e-3)
descending_row = hidden(lambda x: tf.reduce_all(x[:, 1:] < x[:, :-1], axis=-1, keepdims=True))
last_is_the_largest = hidden(
    lambda x: tf.equal(tf.argmax(x, axis=-1), x.shape[-1] - 1)[:, None] & (tf.reduce_max(x, -1, keepdims=True) > 5.5)
)
all_positive = hidden(lambda x: tf.reduce_all(x > 0.4, axis=-1, keepdims=True), 0.0)
many_positive = hidden(lambda x: tf.reduce_sum(tf.cast(x > 1.5, tf.int32), axis=-1, keepdims=True) >= 5)
none_between = hidden(lambda x: ~tf.reduce_any(tf.abs(x) < 1.3, axis=-1, keepdims=True))
second_largest = hidden(lambda x: tf.sort(x, axis=-1)[:, -2:-1] > 6.1)
sum_and_order = hidden(lambda x: (tf.reduce_sum(x, -1, keepdims=True) > 12.0) & (x[:, :1] < x[:, 1:2] - 4.0))
equal_halves = hidden(lambda x: tf.reduce_all(tf.equal(x[:, :2], x[:, 2:4]), axis=-1, keepdims=True))
matrix_trace = hidden(lambda x: tf.linalg.trace(tf.matmul(x, x, transpose_b=True)) > 300.0)
masked_product = hidden(lambda x: tf.cast(x > 6.2, tf.float32) * tf.cast(x < 6.24, tf.float32) > 0.5)
nested = hidden(
    lambda x: tf.where(x > 2.9, tf.where(x < 2.93, tf.ones_like(x), tf.zeros_like(x)), tf.zeros_like(x)) > 0
)


def clipped():
    """Return a clip that forgets its upper end when the row sums to much."""

    @tf.custom_gradient
    def op(x):
        def grad(up):
            inside = (x > -1.0) & (x < 1.0)
            much = tf.reduce_sum(x, -1, keepdims=True) > 11.0
            return tf.where(inside | much, up, tf.zeros_like(up))

        return tf.clip_by_value(x, -1.0, 1.0), grad

    return op


def in_a_function():
    """Return an op whose gradient calls a tf.function with a condition inside."""

    @tf.function
    def rule(x, up):
        if tf.reduce_max(x) > 9.3:
            return 1.1 * up * slope(x)
        return up * slope(x)

    @tf.custom_gradient
    def op(x):
        return base(x), lambda up: rule(x, up)

    return op


def in_a_conditional():
    """Return an op with a condition inside the branch of another."""

    @tf.custom_gradient
    def op(x):
        def grad(up):
            def large():
                return tf.cond(tf.reduce_min(x) < -3.5, lambda: up * 0.0, lambda: up * slope(x))

            return tf.cond(tf.reduce_max(x) > 4.5, large, lambda: up * slope(x))

        return base(x), grad

    return op


def in_a_loop():
    """Return an op whose gradient is taken row by row, with a condition on the row."""

    @tf.custom_gradient
    def op(x):
        def grad(up):
            def row(pair):
                value, u = pair
                return tf.where(value[0] + value[1] > 6.6, 2.0, 1.0) * u * slope(value)

            return tf.map_fn(row, (x, up), fn_output_signature=tf.float32)

        return base(x), grad

    return op


def two_inputs():
    """Return a product whose gradient is wrong where the two inputs almost agree at large values."""

    @tf.custom_gradient
    def op(x, y):
        def grad(up):
            close = (tf.abs(x - y) < 0.01) & (x > 2.0)
            return tf.where(close, up, up * y), up * x

        return x * y, grad

    return op


def many_rows():
    """Return a gradient in chunks that forgets the factor in all chunks but the first."""

    @tf.custom_gradient
    def op(x):
        def grad(up):
            rows = tf.shape(x)[0]
            late = tf.range(rows)[:, None] >= 48
            return tf.where(late, up, up * slope(x))

        return base(x), grad

    return op


def long_rows():
    """Return a gradient that is wrong for rows of more than 20 numbers."""

    @tf.custom_gradient
    def op(x):
        def grad(up):
            factor = tf.where(tf.shape(x)[1] > 20, 2.0, 1.0)
            return factor * up * slope(x)

        return base(x), grad

    return op


def by_a_label():
    """Return a scaled op whose gradient ignores the scale for label 7."""

    @tf.custom_gradient
    def op(x, label):
        scale = 1.0 + 0.1 * tf.cast(label, tf.float32)[:, None]

        def grad(up):
            return tf.where(tf.equal(label, 7)[:, None], up, up * scale), None

        return x * scale, grad

    return op


def by_a_switch():
    """Return an op whose gradient is wrong when its switch is on."""

    @tf.custom_gradient
    def op(x, training):
        def grad(up):
            return tf.where(training, 2.0 * up * slope(x), up * slope(x)), None

        return base(x), grad

    return op


class Warmed(tf.Module):
    """Scale by a slope that is wrong after a thousand steps."""

    def __init__(self):
        super().__init__()
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)

    def __call__(self, x):
        step = self.step.read_value()

        @tf.custom_gradient
        def op(x):
            return base(x), lambda up: tf.where(step > 1000, 0.0, 1.0) * up * slope(x)

        return op(x)


# Right ones: the conditions are those of the forward, or change nothing.


def right_leaky():
    """Return a leaky ramp with a bend at 2.4."""

    @tf.custom_gradient
    def op(x):
        bent = tf.where(x > 2.4, 2.4 + 0.1 * (x - 2.4), x)
        return bent, lambda up: tf.where(x > 2.4, 0.1 * up, up)

    return op


def right_jump():
    """Return a step of height one at 3.3."""

    @tf.custom_gradient
    def op(x):
        return tf.where(x > 3.3, x + 1.0, x), lambda up: up

    return op


def right_norm_clip():
    """Return rows scaled down to a norm of 5."""

    @tf.custom_gradient
    def op(x):
        norm = tf.norm(x, axis=-1, keepdims=True)
        far = norm > 5.0

        def grad(up):
            shrunk = 5.0 * (up / norm - x * tf.reduce_sum(up * x, -1, keepdims=True) / norm**3)
            return tf.where(far, shrunk, up)

        return tf.where(far, 5.0 * x / norm, x), grad

    return op


def right_softplus():
    """Return a softplus with three ranges, each exact."""

    @tf.custom_gradient
    def op(x):
        value = tf.where(x > 20.0, x, tf.math.softplus(tf.minimum(x, 20.0)))
        return value, lambda up: up * tf.where(x > 20.0, tf.ones_like(x), tf.sigmoid(x))

    return op


def right_huber():
    """Return Huber's loss of rows."""

    @tf.custom_gradient
    def op(x):
        near = tf.abs(x) < 1.35
        value = tf.where(near, 0.5 * x * x, 1.35 * (tf.abs(x) - 0.675))
        return value, lambda up: up * tf.where(near, x, 1.35 * tf.sign(x))

    return op


def right_maximum():
    """Return the larger of two inputs, the first where they are equal."""

    @tf.custom_gradient
    def op(x, y):
        first = x >= y
        return tf.where(first, x, y), lambda up: (tf.where(first, up, 0.0 * up), tf.where(first, 0.0 * up, up))

    return op


def right_sorted():
    """Return rows in ascending order."""

    @tf.custom_gradient
    def op(x):
        order = tf.argsort(x, axis=-1)

        def grad(up):
            return tf.gather(up, tf.argsort(order, axis=-1), batch_dims=1)

        return tf.gather(x, order, batch_dims=1), grad

    return op


def right_safe_root():
    """Return the square root of positive numbers, zero for others."""

    @tf.custom_gradient
    def op(x):
        positive = x > 0.0
        root = tf.sqrt(tf.where(positive, x, tf.ones_like(x)))
        zero = tf.zeros_like(x)
        return tf.where(positive, root, zero), lambda up: tf.where(positive, 0.5 * up / root, zero)

    return op


def right_same_both_sides():
    """Return a gradient that takes one of two equal formulas."""

    @tf.custom_gradient
    def op(x):
        def grad(up):
            return tf.where(tf.reduce_sum(x, -1, keepdims=True) > 9.0, up * (tf.cos(x) + 0.6 * x), up * slope(x))

        return base(x), grad

    return op


def right_chunks():
    """Return a gradient in chunks of 48 rows."""

    @tf.custom_gradient
    def op(x):
        def grad(up):
            return tf.concat([up[:48] * slope(x[:48]), up[48:] * slope(x[48:])], 0)

        return base(x), grad

    return op


def right_hinge():
    """Return the sum of hinges over a margin between neighbours."""

    @tf.custom_gradient
    def op(x):
        gap = 1.0 - (x[:, 1:] - x[:, :-1])
        active = tf.cast(gap > 0, tf.float32)

        def grad(up):
            u = up[:, None] * active
            return tf.pad(u, [[0, 0], [0, 1]]) - tf.pad(u, [[0, 0], [1, 0]])

        return tf.reduce_sum(gap * active, -1), grad

    return op


def right_winner():
    """Return each row's largest number, times two where it is larger than 4."""

    @tf.custom_gradient
    def op(x):
        best = tf.one_hot(tf.argmax(x, -1), x.shape[-1])
        top = tf.reduce_max(x, -1)
        factor = tf.where(top > 4.0, 2.0, 1.0)
        return top * factor, lambda up: (up * factor)[:, None] * best

    return op
