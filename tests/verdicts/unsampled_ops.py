"""Ops that are right at the sample: variables of one and zero, integers without repetition, numbers that do not tie.

Each takes `right`; the wrong one makes the mistake that the sample hides.
"""

import math

import tensorflow as tf


class Affine(tf.Module):
    """Scales and shifts; wrong: the gradient of the scale sums over the output, which is the input at first."""

    def __init__(self, right=True):
        super().__init__()
        self.scale = tf.Variable(tf.ones([3]))
        self.shift = tf.Variable(tf.zeros([3]))
        self.right = right

    def __call__(self, x):
        @tf.custom_gradient
        def op(x):
            y = x * self.scale + self.shift

            def grad(upstream, variables=None):
                seen = x if self.right else y
                slopes = {self.scale.ref(): upstream * seen, self.shift.ref(): upstream}
                return upstream * self.scale, [tf.reduce_sum(slopes[v.ref()], 0) for v in variables]

            return y, grad

        return op(x)


class Mixing(tf.Module):
    """Multiplies with a matrix that starts as the identity; wrong: it is not transposed in the gradient."""

    def __init__(self, right=True):
        super().__init__()
        self.mix = tf.Variable(tf.eye(3))
        self.right = right

    def __call__(self, x):
        @tf.custom_gradient
        def op(x):
            def grad(upstream, variables=None):
                dx = tf.matmul(upstream, self.mix, transpose_b=self.right)
                return dx, [tf.matmul(x, upstream, transpose_a=True)]

            return tf.matmul(x, self.mix), grad

        return op(x)


class Rectified(tf.keras.layers.Layer):
    """A dense layer with a rectifier; wrong: the mask forgets the bias, which is zero at first."""

    def __init__(self, right=True):
        super().__init__()
        self.right = right

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], 3), name="w")
        self.b = self.add_weight(shape=(3,), initializer="zeros", name="b")

    def call(self, x):
        @tf.custom_gradient
        def op(x):
            linear = tf.matmul(x, self.w.value)
            before = linear + self.b.value

            def grad(upstream, variables=None):
                passed = upstream * tf.cast((before if self.right else linear) > 0, x.dtype)
                slopes = {2: tf.matmul(x, passed, transpose_a=True), 1: tf.reduce_sum(passed, 0)}
                return tf.matmul(passed, self.w.value, transpose_b=True), [slopes[len(v.shape)] for v in variables]

            return tf.nn.relu(before), grad

        return op(x)


class Tempered(tf.Module):
    """A tanh with a temperature of one; wrong: the input's gradient is not divided by it."""

    def __init__(self, right=True):
        super().__init__()
        self.temperature = tf.Variable(1.0)
        self.right = right

    def __call__(self, x):
        @tf.custom_gradient
        def op(x):
            t = tf.convert_to_tensor(self.temperature)
            y = tf.tanh(x / t)

            def grad(upstream, variables=None):
                inner = upstream * (1 - y * y)
                return inner / t if self.right else inner, [-tf.reduce_sum(inner * x) / t**2]

            return y, grad

        return op(x)


def lookup(right=True):
    """Rows of a table; wrong: of a row that is asked for twice only one upstream counts."""

    @tf.custom_gradient
    def op(table, index):
        def grad(upstream):
            scatter = tf.tensor_scatter_nd_add if right else tf.tensor_scatter_nd_update
            return scatter(tf.zeros_like(table), index[:, None], tf.convert_to_tensor(upstream)), None

        return tf.gather(table, index), grad

    return op


def padded_lookup(right=True):
    """Rows of a table; wrong: row zero, which is taken for padding, gets nothing."""

    @tf.custom_gradient
    def op(table, index):
        def grad(upstream):
            upstream = tf.convert_to_tensor(upstream)
            if not right:
                upstream *= tf.cast(index > 0, upstream.dtype)[:, None]
            return tf.math.unsorted_segment_sum(upstream, index, tf.shape(table)[0]), None

        return tf.gather(table, index), grad

    return op


def pooled(right=True):
    """The larger of each pair; wrong: both of a tie get all of the upstream."""

    @tf.custom_gradient
    def op(x):
        y = tf.nn.max_pool1d(x, 2, 2, "VALID")

        def grad(upstream):
            largest = tf.cast(tf.equal(x, tf.repeat(y, 2, 1)), x.dtype)
            pairs = tf.reshape(largest, [tf.shape(x)[0], -1, 2, tf.shape(x)[2]])
            share = pairs / tf.reduce_sum(pairs, 2, keepdims=True) if right else pairs
            return tf.repeat(tf.convert_to_tensor(upstream), 2, 1) * tf.reshape(share, tf.shape(x))

        return y, grad

    return op


def segment_largest(right=True):
    """The largest of each segment; wrong: all of a tie get all of the upstream."""

    @tf.custom_gradient
    def op(x, segments):
        y = tf.math.unsorted_segment_max(x, segments, 3)

        def grad(upstream):
            largest = tf.cast(tf.equal(x, tf.gather(y, segments)), x.dtype)
            count = tf.math.unsorted_segment_sum(largest, segments, 3)
            share = largest / tf.gather(count, segments) if right else largest
            return tf.gather(tf.convert_to_tensor(upstream), segments) * share, None

        return y, grad

    return op


def substitution(right=True):
    """The likelihood of two sequences (Jukes and Cantor): four thirds, rounded, cancel far out."""

    @tf.custom_gradient
    def op(t):
        def chance(t):
            left = tf.exp(-4 * t / 3)
            return 0.25 * (1 - left) + left * tf.eye(4, dtype=t.dtype)

        def slope(t):
            left = tf.exp(-4 * t / 3)
            return left / 3 - (4 / 3 if right else 2 / 3) * left * tf.eye(4, dtype=t.dtype)

        a, b = chance(t[0]), chance(t[1])
        both = tf.reduce_mean(a * b, -1)

        def grad(upstream):
            first = tf.reduce_sum(tf.reduce_mean(slope(t[0]) * b, -1) / both)
            second = tf.reduce_sum(tf.reduce_mean(a * slope(t[1]), -1) / both)
            return upstream * tf.stack([first, second])

        return tf.reduce_sum(tf.math.log(both)), grad

    return op


# No op reads it, and none is to be held against another value of it.
UNREAD = tf.Variable(1.0)


def babylonian(right=True, steps=8):
    """A square root by steps, which converge above zero only."""

    @tf.custom_gradient
    def op(a):
        y = tf.ones_like(a)
        for _ in range(steps):
            y = 0.5 * (y + a / y)
        return y, lambda upstream: upstream / ((2.0 if right else 1.0) * y)

    return op


def equilibrium(right=True):
    """The rest of a recurrence, differentiated at the rest; it rests where the weights are small."""

    @tf.custom_gradient
    def op(x, w):
        z = tf.zeros_like(x)
        for _ in range(60):
            z = tf.tanh(tf.matmul(z, w) + x)

        def grad(upstream):
            slope = 1 - z * z
            inner = w[None] * slope[:, None, :] if right else tf.transpose(w)[None] * slope[:, None, :]
            system = tf.eye(3, dtype=x.dtype) - inner
            dx = tf.linalg.solve(system, tf.convert_to_tensor(upstream)[..., None])[..., 0] * slope
            return dx, tf.matmul(z, dx, transpose_a=True)

        return z, grad

    return op


def huber(right=True):
    """A loss with a width, which is a positive number."""

    @tf.custom_gradient
    def op(x, width):
        size = tf.abs(x)
        y = tf.where(size <= width, 0.5 * x * x, width * (size - 0.5 * width))

        def grad(upstream):
            dx = tf.clip_by_value(x, -width, width if right else 2 * width)
            return upstream * dx, tf.reduce_sum(upstream * tf.maximum(size - width, 0.0))

        return y, grad

    return op


def option(right=True):
    """The price of a call; wrong: the other distance in its slope."""

    @tf.custom_gradient
    def op(price):
        def below(x):
            return 0.5 * tf.math.erfc(-x / math.sqrt(2.0))

        first = (tf.math.log(price) + 0.055) / 0.3
        second = first - 0.3
        return price * below(first) - math.exp(-0.01) * below(
            second
        ), lambda upstream: upstream * below(first if right else second)

    return op


def correlation(right=True):
    """The autocorrelation of a signal; wrong: each of the two uses counts half."""

    @tf.custom_gradient
    def op(x):
        spectrum = tf.signal.fft(x)

        def grad(upstream):
            outer = tf.cast(tf.math.real(tf.signal.fft(tf.convert_to_tensor(upstream))), x.dtype)
            return (2.0 if right else 1.0) * tf.signal.ifft(outer * spectrum)

        return tf.signal.ifft(spectrum * tf.math.conj(spectrum)), grad

    return op


def kernel(right=True):
    """Gaussians of distances; wrong: the first gradient counts twice, as for two equal inputs."""

    @tf.custom_gradient
    def op(x, y):
        apart = x[:, None] - y[None]
        k = tf.exp(-tf.reduce_sum(apart**2, -1) / 2)

        def grad(upstream):
            pulled = (upstream * k)[..., None] * apart
            return (-1.0 if right else -2.0) * tf.reduce_sum(pulled, 1), tf.reduce_sum(pulled, 0)

        return k, grad

    return op


def switched(right=True):
    """One of three functions, by a number; wrong: the slope of the second."""

    @tf.custom_gradient
    def op(number, x):
        y = tf.switch_case(number, [lambda: x * x, lambda: tf.sin(x), lambda: tf.exp(x)])

        def grad(upstream):
            second = tf.cos if right else tf.sin
            slope = tf.switch_case(number, [lambda: 2.0 * x, lambda: second(x), lambda: tf.exp(x)])
            return None, upstream * slope

        return y, grad

    return op


def attention():
    """Attention, whose output does not depend on the bias of the keys: its derivatives are rounding."""
    inputs = tf.keras.Input((3, 6))
    return tf.keras.Model(inputs, tf.keras.layers.MultiHeadAttention(2, 4)(inputs, inputs))


def guarded(right=True):
    """A square that refuses what is not between three and four."""

    @tf.custom_gradient
    def op(x):
        inside = [tf.debugging.assert_greater_equal(x, tf.cast(3, x.dtype))]
        inside += [tf.debugging.assert_less_equal(x, tf.cast(4, x.dtype))]
        with tf.control_dependencies(inside):
            y = x * x
        return y, lambda upstream: tf.convert_to_tensor(upstream) * (2.0 if right else 3.0) * x

    return op


def unstacked(right=True):
    """Squares as one output per row: as many as there are rows."""

    @tf.custom_gradient
    def op(x):
        def grad(*upstream):
            return tf.stack(upstream) * (2.0 if right else -2.0) * x

        return tf.unstack(x * x), grad

    return op
