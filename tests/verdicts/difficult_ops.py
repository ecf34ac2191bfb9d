"""Gradients that are right and look wrong, and wrong ones that look right."""

import tensorflow as tf


def pooled(every=False):
    """The larger of each pair of columns; ties go to the first, or wrongly to both."""

    @tf.custom_gradient
    def op(x):
        pairs = tf.reshape(x, [tf.shape(x)[0], tf.shape(x)[1] // 2, 2])
        largest = tf.reduce_max(pairs, -1)

        def grad(upstream):
            first = tf.one_hot(tf.argmax(pairs, -1), 2, dtype=x.dtype)
            chosen = tf.cast(pairs == largest[..., None], x.dtype) if every else first
            return tf.reshape(tf.convert_to_tensor(upstream)[..., None] * chosen, tf.shape(x))

        return largest, grad

    return op


@tf.custom_gradient
def relu_one_at_zero(x):
    def grad(upstream):
        return tf.convert_to_tensor(upstream) * tf.cast(x >= 0, x.dtype)

    return tf.nn.relu(x), grad


@tf.custom_gradient
def middle(x):
    """The middle of three numbers per row; of equal ones the first."""
    value = tf.sort(x, -1)[:, 1:2]

    def grad(upstream):
        place = tf.argmax(tf.cast(x == value, tf.int32), -1)
        return tf.convert_to_tensor(upstream) * tf.one_hot(place, 3, dtype=x.dtype)

    return value, grad


@tf.custom_gradient
def biased(x, b):
    """Adds a row to every row."""

    def grad(upstream):
        upstream = tf.convert_to_tensor(upstream)
        return upstream, tf.reduce_sum(upstream, 0, keepdims=True)

    return x + b, grad


@tf.custom_gradient
def decayed(x):
    """Forty steps of decay; the adjoint takes the factor to its power at once."""
    rate = tf.constant(0.07, x.dtype)

    def grad(upstream):
        factor = tf.ones([], x.dtype)
        for _ in range(40):
            factor = factor * (1 - rate)
        return tf.convert_to_tensor(upstream) * factor

    y = x
    for _ in range(40):
        y = y - rate * y
    return y, grad


def fixed_point(transposed=True):
    """z = tanh(W z + x), iterated; the gradient by the implicit function theorem."""

    @tf.custom_gradient
    def op(w, x):
        w, x = tf.convert_to_tensor(w), tf.convert_to_tensor(x)
        z = tf.zeros_like(x)
        for _ in range(40):
            z = tf.tanh(tf.linalg.matvec(w, z) + x)

        def grad(upstream):
            slope = 1 - z * z
            system = tf.eye(3, dtype=w.dtype) - slope[:, None] * w
            right = tf.convert_to_tensor(upstream)[:, None]
            adjoint = tf.linalg.solve(system, right, adjoint=transposed)[:, 0] * slope
            return adjoint[:, None] * z[None, :], adjoint

        return z, grad

    return op


@tf.custom_gradient
def naive_tail(x):
    """One minus a sigmoid, which cancels for large inputs."""
    s = tf.sigmoid(x)

    def grad(upstream):
        return -tf.convert_to_tensor(upstream) * s * (1 - s)

    return 1 - s, grad


def detached(x):
    """Rounding as people write it straight through."""
    inside = tf.clip_by_value(x, -2.0, 2.0)
    return inside + tf.stop_gradient(tf.round(inside) - inside)


def rounded(masked=True):
    """Clips and rounds; the gradient is one inside, wrongly everywhere."""

    @tf.custom_gradient
    def op(x):
        def grad(upstream):
            upstream = tf.convert_to_tensor(upstream)
            return tf.where(tf.abs(x) <= 2, upstream, tf.zeros_like(upstream)) if masked else upstream

        return tf.round(tf.clip_by_value(x, -2.0, 2.0)), grad

    return op


def scaled_rows(mean=False):
    """Scales columns; the gradient of the scale sums over rows, wrongly averages the inputs."""

    @tf.custom_gradient
    def op(x, w):
        def grad(upstream):
            upstream = tf.convert_to_tensor(upstream)
            dw = tf.reduce_sum(upstream, 0) * tf.reduce_mean(x, 0) if mean else tf.reduce_sum(upstream * x, 0)
            return upstream * w, dw

        return x * w, grad

    return op


@tf.custom_gradient
def real_part(z):
    """The real part, whose gradient wrongly reaches the imaginary part."""

    def grad(upstream):
        upstream = tf.convert_to_tensor(upstream)
        return tf.complex(upstream, upstream)

    return tf.math.real(z), grad


@tf.custom_gradient
def log_likelihood(factor):
    """A quadratic less the log-determinant of a triangular factor, whose gradient is forgotten."""

    def grad(upstream):
        return tf.convert_to_tensor(upstream) * tf.linalg.band_part(factor, -1, 0)

    diagonal = tf.linalg.diag_part(factor)
    lower = tf.linalg.band_part(factor, -1, 0)
    return 0.5 * tf.reduce_sum(lower * lower) - tf.reduce_sum(tf.math.log(diagonal)), grad


@tf.custom_gradient
def tempered(x, scale):
    """A product with one number, whose gradient is a mean and should be a sum."""

    def grad(upstream):
        upstream = tf.convert_to_tensor(upstream)
        return upstream * scale, tf.reduce_mean(upstream * x)

    return x * scale, grad


@tf.custom_gradient
def first_alone(x, unused):
    def grad(upstream):
        upstream = tf.convert_to_tensor(upstream)
        return 2.0 * upstream, upstream

    return 2.0 * x, grad


@tf.custom_gradient
def half_gradient(x):
    """Saves memory by keeping the factor of the gradient in half precision."""
    kept = tf.cast(tf.cos(x), tf.bfloat16)

    def grad(upstream):
        return tf.convert_to_tensor(upstream) * tf.cast(kept, x.dtype)

    return tf.sin(x), grad


def remembering(keep=True):
    """A relu that keeps the mask of its first call."""
    kept = {}

    @tf.custom_gradient
    def op(x):
        mask = tf.cast(x > 0, x.dtype)
        if tf.executing_eagerly() and keep:
            mask = kept.setdefault("mask", mask)

        def grad(upstream):
            return tf.convert_to_tensor(upstream) * mask

        return tf.nn.relu(x), grad

    return op


def shortened(projected=True):
    """Clips to norm ten; where it clips, the gradient wrongly lacks the projection."""

    @tf.custom_gradient
    def op(x):
        norm = tf.norm(x)

        def clipped():
            return 10.0 * x / norm

        def grad(upstream):
            upstream = tf.convert_to_tensor(upstream)
            along = tf.reduce_sum(upstream * x) * x / (norm * norm) if projected else tf.zeros_like(x)
            return tf.cond(norm > 10, lambda: 10.0 * (upstream - along) / norm, lambda: upstream)

        return tf.cond(norm > 10, clipped, lambda: tf.identity(x)), grad

    return op


@tf.custom_gradient
def softmax_alone(x):
    """A softmax whose gradient lacks the sum over the row."""
    y = tf.nn.softmax(x)
    return y, lambda upstream: tf.convert_to_tensor(upstream) * y


class Tied(tf.keras.layers.Layer):
    """Encodes and decodes with one matrix; the gradient can lack the part of the decoder."""

    def __init__(self, forgotten=False):
        super().__init__()
        self.forgotten = forgotten

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 3), name="kernel")

    def call(self, inputs):
        @tf.custom_gradient
        def coded(x, w):
            hidden = tf.tanh(tf.matmul(x, w))

            def grad(upstream):
                upstream = tf.convert_to_tensor(upstream)
                inner = tf.matmul(upstream, w) * (1 - hidden * hidden)
                encoder = tf.matmul(x, inner, transpose_a=True)
                decoder = tf.matmul(upstream, hidden, transpose_a=True)
                return tf.matmul(inner, w, transpose_b=True), encoder if self.forgotten else encoder + decoder

            return tf.matmul(hidden, w, transpose_b=True), grad

        return coded(inputs, tf.convert_to_tensor(self.kernel))


@tf.custom_gradient
def attended(q, k, v):
    """Attention whose gradient is written out; far out the softmax is saturated."""
    weights = tf.nn.softmax(tf.matmul(q, k, transpose_b=True))

    def grad(upstream):
        upstream = tf.convert_to_tensor(upstream)
        inner = tf.matmul(upstream, v, transpose_b=True)
        scores = weights * (inner - tf.reduce_sum(inner * weights, -1, keepdims=True))
        return (
            tf.matmul(scores, k),
            tf.matmul(scores, q, transpose_a=True),
            tf.matmul(weights, upstream, transpose_a=True),
        )

    return tf.matmul(weights, v), grad


def total_probability(shift=0.0):
    """log of a sum of probabilities: nothing but rounding is left of its value and gradient."""

    def plain(x):
        return tf.reduce_logsumexp(tf.nn.log_softmax(tf.math.erf(x)), -1)

    @tf.custom_gradient
    def op(x):
        def grad(upstream):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = plain(x)
            return tape.gradient(y, x, output_gradients=upstream) + tf.cast(shift, x.dtype)

        return plain(x), grad

    return op


def normalised():
    """Batch normalisation of x + bias, which the bias cannot change; its gradient is rounding alone."""

    @tf.custom_gradient
    def op(x, bias):
        shifted = x + bias
        mean, variance = tf.nn.moments(shifted, [0], keepdims=True)
        spread = tf.math.rsqrt(variance + tf.cast(1e-3, x.dtype))
        y = (shifted - mean) * spread

        def grad(upstream):
            upstream = tf.convert_to_tensor(upstream)
            centred = upstream - tf.reduce_mean(upstream, 0, keepdims=True)
            dx = spread * (centred - y * tf.reduce_mean(upstream * y, 0, keepdims=True))
            return dx, tf.reduce_sum(dx, 0)

        return y, grad

    return op


def twice_lgamma(factor=1.0):
    """A function of which XLA knows fewer digits than eager does, and none where it is zero."""

    def op(x):
        inner = tf.math.lgamma(tf.clip_by_value(x, 0.3, 1.0) ** 2 + 1.0)
        return tf.math.lgamma(inner * inner + 1.0) * (1.0 if tf.executing_eagerly() else factor)

    return op


def column_sums(factor=1.0, rows=None, tail=0.0):
    """tanh(x) w summed with its rows; the gradient is off by a factor, averages over rows or is wrong in the last."""

    @tf.custom_gradient
    def op(x, w):
        y = tf.tanh(x)

        def grad(upstream):
            upstream = tf.convert_to_tensor(upstream)
            last = tf.cast(tf.range(tf.shape(x)[0]) == tf.shape(x)[0] - 1, x.dtype)[:, None]
            dx = factor * upstream * w * (1.0 - y * y) * (1.0 + tail * last)
            return dx, tf.reduce_sum(upstream * y, 0) / (1.0 if rows is None else rows)

        return y * w, grad

    return op


def beside_a_large_one(sign=1.0):
    """A sum of squares a billionth the size of what it is added to; the gradient has one wrong sign."""

    @tf.custom_gradient
    def op(x, c):
        def grad(upstream):
            flipped = tf.where(tf.range(tf.size(x)) == 77, tf.cast(sign, x.dtype), tf.ones_like(x))
            return upstream * 2e-6 * x * flipped, upstream * 1e3 * tf.ones_like(c)

        return 1e-6 * tf.reduce_sum(x * x) + 1e3 * tf.reduce_sum(c), grad

    return op


def exponential(factor=1.0):
    """exp, whose gradient is off by a factor where it is small."""

    @tf.custom_gradient
    def op(x):
        def grad(upstream):
            return tf.convert_to_tensor(upstream) * tf.exp(x) * tf.where(x < -15.0, tf.cast(factor, x.dtype), 1.0)

        return tf.exp(x), grad

    return op


def positive_squares(factor=2.0):
    """The squares of what is positive: inputs close by may give another number of outputs."""

    @tf.custom_gradient
    def op(x):
        def grad(upstream):
            upstream = tf.convert_to_tensor(upstream)
            return tf.scatter_nd(tf.where(x > 0), upstream, tf.cast(tf.shape(x), tf.int64)) * factor * x

        return tf.boolean_mask(x * x, x > 0), grad

    return op


class Alternating(tf.Module):
    """Scales by a variable; every second grad_fn forgets that it is handed variables."""

    def __init__(self):
        super().__init__()
        self.scale = tf.Variable([1.0, 2.0, 3.0])
        self.calls = 0

    def __call__(self, x):
        @tf.custom_gradient
        def op(x):
            self.calls += 1

            def grad(upstream, variables=None):
                return upstream * self.scale, [tf.reduce_sum(upstream * x, 0)]

            return x * self.scale, grad if self.calls % 2 else lambda upstream: upstream * self.scale

        return op(x)


def centred_sum(right=True):
    """The sum of a row less its mean: zero, and its gradient is zero but for rounding of large terms."""

    @tf.custom_gradient
    def op(x):
        large = tf.square(1e3 * x)

        def grad(upstream):
            spread = tf.broadcast_to(tf.convert_to_tensor(upstream)[..., None], tf.shape(x))
            spread -= tf.reduce_mean(spread, -1, keepdims=True) if right else 0.5 * spread
            return spread * 2e6 * x

        return tf.reduce_sum(large - tf.reduce_mean(large, -1, keepdims=True), -1), grad

    return op
