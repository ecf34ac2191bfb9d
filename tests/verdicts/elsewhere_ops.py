"""Ops whose gradient is right at the sample and may be wrong at other inputs."""

import tensorflow as tf
from difficult_ops import total_probability

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


# The log of one, of which rounding is all that is left.
total_of_probabilities = total_probability()


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


def padded_rows(masks=True):
    """Rows of a table in which 0 stands for padding; the gradient may reach that row."""

    @tf.custom_gradient
    def op(table, ids):
        mask = tf.cast(tf.not_equal(ids, 0), table.dtype)[..., None]

        def grad(upstream):
            u = tf.convert_to_tensor(upstream)
            u = tf.reshape(u * mask if masks else u, [-1, table.shape[-1]])
            return tf.math.unsorted_segment_sum(u, tf.reshape(ids, [-1]), tf.shape(table)[0]), None

        return tf.gather(table, ids) * mask, grad

    return op


def valid_labels(masks=True):
    """A cross entropy that leaves out labels below zero; the gradient may count them."""

    @tf.custom_gradient
    def op(logits, labels):
        valid, safe = tf.cast(labels >= 0, logits.dtype), tf.maximum(labels, 0)
        logs, count = tf.nn.log_softmax(logits), tf.maximum(tf.reduce_sum(valid), 1.0)

        def grad(upstream):
            g = tf.exp(logs) - tf.one_hot(safe, tf.shape(logits)[-1], dtype=logits.dtype)
            return (g * valid[:, None] if masks else g) * upstream / count, None

        return -tf.reduce_sum(tf.gather(logs, safe, batch_dims=1) * valid) / count, grad

    return op


def bag(adds=True):
    """The sum of rows of a table; of a row that comes twice one use may be lost."""

    @tf.custom_gradient
    def op(table, ids):
        def grad(upstream):
            u = tf.repeat(tf.convert_to_tensor(upstream)[:, None], tf.shape(ids)[1], 1)
            scatter = tf.tensor_scatter_nd_add if adds else tf.tensor_scatter_nd_update
            rows = tf.reshape(u, [-1, tf.shape(table)[1]])
            return scatter(tf.zeros_like(table), tf.reshape(ids, [-1, 1]), rows), None

        return tf.reduce_sum(tf.gather(table, ids), 1), grad

    return op


@tf.custom_gradient
def turned_back(x, order):
    """Rows in another order, whose gradient turns them back: an order in which none comes twice."""

    def grad(upstream):
        return tf.gather(tf.convert_to_tensor(upstream), tf.argsort(order)), None

    return tf.gather(x, order), grad


def mean_of_valid(guards=True):
    """A mean over the valid steps, zero where there are none; the gradient may divide by zero there."""

    @tf.custom_gradient
    def op(x, lengths):
        mask = tf.sequence_mask(lengths, tf.shape(x)[1], dtype=x.dtype)
        n = tf.cast(lengths, x.dtype)

        def grad(upstream):
            u = tf.convert_to_tensor(upstream)
            return mask * (tf.math.divide_no_nan(u, n) if guards else u / n)[:, None], None

        return tf.math.divide_no_nan(tf.reduce_sum(x * mask, 1), n), grad

    return op


@tf.custom_gradient
def soft_targets(logits, t):
    """A cross entropy of targets that sum to one, on which its gradient relies."""
    logs = tf.nn.log_softmax(logits)

    def grad(upstream):
        u = tf.convert_to_tensor(upstream)[:, None]
        return u * (tf.exp(logs) - t), -u * logs

    return -tf.reduce_sum(t * logs, -1), grad


@tf.custom_gradient
def knots(x, xk, yk):
    """A line through knots, which have to be sorted."""
    i = tf.clip_by_value(tf.searchsorted(xk, x) - 1, 0, tf.shape(xk)[0] - 2)
    x0, x1, y0, y1 = (tf.gather(t, j) for t, j in ((xk, i), (xk, i + 1), (yk, i), (yk, i + 1)))
    w = (x - x0) / (x1 - x0)

    def grad(upstream):
        n = tf.shape(xk)[0]
        s = tf.convert_to_tensor(upstream) * (y1 - y0) / (x1 - x0)

        def total(a, b):
            return tf.math.unsorted_segment_sum(a, i, n) + tf.math.unsorted_segment_sum(b, i + 1, n)

        return s, total(-s * (1 - w), -s * w), total(upstream * (1 - w), upstream * w)

    return y0 + w * (y1 - y0), grad


@tf.custom_gradient
def fixed_weights(x):
    """A sum with five weights, which one number would broadcast with."""
    weights = tf.constant([0.5, 1.0, -2.0, 0.25, 3.0], x.dtype)
    return tf.reduce_sum(weights * x), lambda upstream: upstream * weights


@tf.custom_gradient
def _divided(x, scale, factor):
    def grad(upstream):
        return factor * upstream / scale, -tf.reduce_sum(upstream * x / scale**2, 0), None

    return x / scale, grad


class MovingScale(tf.keras.layers.Layer):
    """Division by a moving mean, which moves on after its use."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor

    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=[shape[-1]], initializer="ones", trainable=False)

    def call(self, x):
        scale = tf.convert_to_tensor(self.scale)
        y = _divided(x, scale, tf.constant(self.factor, x.dtype))
        self.scale.assign(0.9 * scale + 0.1 * tf.reduce_mean(tf.abs(tf.stop_gradient(x)), 0))
        return y


def square_root(factor=1.0):
    """A square root by steps that end at a tolerance, with the slope of what they converge to."""

    @tf.custom_gradient
    def op(a):
        def goes_on(y):
            return tf.reduce_max(tf.abs(y * y - a)) > 1e-3

        (y,) = tf.while_loop(goes_on, lambda y: (0.5 * (y + a / y),), (tf.maximum(a, 1.0),))
        return y, lambda upstream: factor * upstream / (2.0 * y)

    return op


@tf.custom_gradient
def softmax_summed_in_single(x):
    """A softmax whose gradient takes its sum in float32."""
    y = tf.nn.softmax(x)

    def grad(upstream):
        s = tf.reduce_sum(tf.cast(upstream * y, tf.float32), -1, keepdims=True)
        return y * (upstream - tf.cast(s, x.dtype))

    return y, grad


def masked_tanh(factor=1.0):
    """A function of what a mask leaves; a mask that leaves nothing shows nothing."""

    @tf.custom_gradient
    def op(x, mask):
        m = tf.cast(mask, x.dtype)
        return tf.tanh(x) * m, lambda upstream: (factor * upstream * (1.0 - tf.tanh(x) ** 2) * m, None)

    return op


@tf.custom_gradient
def sliced_lookup(table, ids):
    """Rows of a table, with a gradient in slices whose shape is given in plain numbers."""

    def grad(upstream):
        rows = tf.reshape(tf.convert_to_tensor(upstream), [-1, 4])
        return tf.IndexedSlices(rows, tf.reshape(ids, [-1]), [7, 4]), None

    return tf.gather(table, ids), grad


@tf.custom_gradient
def _over(x, scale):
    return x / scale, lambda upstream: (upstream / scale, -tf.reduce_sum(upstream * x / scale**2, 0))


def stopped_scale(x):
    """Division by a mean through which no gradient comes."""
    return _over(x, 1.0 + tf.reduce_mean(tf.stop_gradient(x * x), 0))


def scaled_by_one_number(sums=True):
    """A product with one number, whose gradient is a number too."""
    reduced = tf.reduce_sum if sums else tf.reduce_mean

    @tf.custom_gradient
    def op(x, s):
        return x * s, lambda upstream: (upstream * s, reduced(upstream * x))

    return op


def scaled_vjp(x, s, upstream):
    return upstream * s, tf.reduce_sum(upstream * x)


def warmed_up(ends=True):
    """A factor that grows for a hundred steps; the gradient may let it grow for ever."""

    @tf.custom_gradient
    def op(x, step):
        share = tf.cast(step, x.dtype) / 100.0
        held = tf.minimum(share, 1.0)
        return x * held, lambda upstream: (upstream * (held if ends else share), None)

    return op


def single_inside_half_of(factor=1.0):
    """A tanh whose gradient is computed in float32 from the output."""

    @tf.custom_gradient
    def op(x):
        y = tf.tanh(x)

        def grad(upstream):
            wide, u = tf.cast(y, tf.float32), tf.cast(upstream, tf.float32)
            return tf.cast(factor * u * (1.0 - wide) * (1.0 + wide), x.dtype)

        return y, grad

    return op


single_inside_half = single_inside_half_of()


# --- Sizes that are written down, of axes that share a size --------------------------------------------------------


def rows_squared(rows=None):
    """A mean over rows of a matrix that happens to be square; the rule divides by `rows` where it is given."""

    @tf.custom_gradient
    def op(x):
        count = tf.cast(tf.shape(x)[0], x.dtype)
        return tf.reduce_sum(x * x) / count, lambda u: 2.0 * u * x / (count if rows is None else float(rows[0]))

    return op


def mean_trace(size=None):
    """The mean of a diagonal."""

    @tf.custom_gradient
    def op(a):
        n = tf.shape(a)[0]
        count = tf.cast(n, a.dtype) if size is None else float(size[0])
        return tf.linalg.trace(a) / tf.cast(n, a.dtype), lambda u: u * tf.eye(n, dtype=a.dtype) / count

    return op


def scaled_product(width=None):
    """A product divided by the size along which it sums."""

    @tf.custom_gradient
    def op(x, w):
        count = tf.cast(tf.shape(w)[0], x.dtype)

        def grad(u):
            u = tf.convert_to_tensor(u)
            used = count if width is None else float(width[0])
            return tf.matmul(u, w, transpose_b=True) / used, tf.matmul(x, u, transpose_a=True) / used

        return tf.matmul(x, w) / count, grad

    return op


def token_loss(steps=None):
    """The mean of the negative log likelihood over the tokens of all sequences."""

    @tf.custom_gradient
    def op(x, y):
        hot = tf.one_hot(y, tf.shape(x)[-1], dtype=x.dtype)
        count = tf.cast(tf.size(y), x.dtype)
        used = count if steps is None else tf.cast(tf.shape(x)[0], x.dtype) * float(steps[0])

        def grad(u):
            return u * (tf.nn.softmax(x) - hot) / used, None

        return -tf.reduce_sum(hot * tf.nn.log_softmax(x)) / count, grad

    return op


def time_mean(steps=None):
    """A mean over time."""

    @tf.custom_gradient
    def op(x):
        count = tf.cast(tf.shape(x)[1], x.dtype)
        used = count if steps is None else float(steps[0])
        return tf.reduce_mean(x, 1), lambda u: tf.convert_to_tensor(u)[:, None] * tf.ones_like(x) / used

    return op


@tf.custom_gradient
def filtered(x, kernel):
    """A convolution with a kernel of odd size, which its rule turns round: an even one needs another padding."""

    def grad(u):
        u = tf.convert_to_tensor(u)
        back = tf.nn.conv2d(u, tf.transpose(kernel[::-1, ::-1], [0, 1, 3, 2]), 1, "SAME")
        by_kernel = tf.raw_ops.Conv2DBackpropFilter(
            input=x, filter_sizes=tf.shape(kernel), out_backprop=u, strides=[1, 1, 1, 1], padding="SAME"
        )
        return back, by_kernel

    return tf.nn.conv2d(x, kernel, 1, "SAME"), grad


# --- Values that the forward holds fixed ----------------------------------------------------------------------------


def codebook_loss(beta=0.25, used=None):
    """The loss of a vector-quantized autoencoder: each of its two terms holds one side fixed."""

    @tf.custom_gradient
    def op(z, codes):
        nearest = tf.argmin(tf.reduce_sum((z[:, None] - codes[None]) ** 2, -1), 1)
        e = tf.gather(codes, nearest)
        loss = (tf.stop_gradient(z) - e) ** 2 + beta * (z - tf.stop_gradient(e)) ** 2

        def grad(u):
            apart = 2.0 * (z - e) * u[:, None]
            return (beta if used is None else used) * apart, tf.math.unsorted_segment_sum(
                -apart, nearest, tf.shape(codes)[0]
            )

        return tf.reduce_sum(loss, 1), grad

    return op


def detached_target(factor=2.0):
    """The squared error to a target that the same numbers give, which is held fixed."""

    @tf.custom_gradient
    def op(q, reward):
        gap = q[:-1, 0] - reward - 0.9 * tf.stop_gradient(tf.reduce_max(q[1:], 1))

        def grad(u):
            first = factor * u * gap
            return tf.pad(first[:, None], [[0, 1], [0, tf.shape(q)[1] - 1]]), -2.0 * u * gap

        return gap * gap, grad

    return op


@tf.custom_gradient
def centred_exponential(x):
    """A softmax that takes a maximum away and holds it fixed; its rule is the slope of all of it."""
    weights = tf.exp(x - tf.stop_gradient(tf.reduce_max(x, -1, keepdims=True)))
    y = weights / tf.reduce_sum(weights, -1, keepdims=True)

    def grad(u):
        u = tf.convert_to_tensor(u)
        return y * (u - tf.reduce_sum(u * y, -1, keepdims=True))

    return y, grad


@tf.custom_gradient
def whole_slope(x):
    """Holds a scale fixed for autodiff; the rule is the slope that differences see."""
    scale = tf.stop_gradient(1.0 + tf.reduce_sum(x * x))

    def grad(u):
        u = tf.convert_to_tensor(u)
        return u / scale - 2.0 * x * tf.reduce_sum(u * x) / scale**2

    return x / scale, grad


def summed_exponentials(beyond=1.0):
    """The logarithm of summed exponentials, in which TensorFlow holds a maximum fixed; the slope far out may be off."""

    @tf.custom_gradient
    def op(x):
        def grad(u):
            slope = tf.convert_to_tensor(u)[:, None] * tf.nn.softmax(x, -1)
            return tf.where(x > 6.0, beyond * slope, slope)

        return tf.reduce_logsumexp(x, -1), grad

    return op


@tf.custom_gradient
def hard_gate(u, a):
    """A gate that noise opens; its rule is zero times infinity at a noise of zero, where the gate is shut."""
    s = tf.sigmoid((tf.math.log(u) - tf.math.log1p(-u) + a) / 0.5)
    stretched = 1.2 * s - 0.1

    def grad(up):
        inside = tf.cast((stretched > 0.0) & (stretched < 1.0), u.dtype)
        slope = tf.convert_to_tensor(up) * inside * 1.2 * s * (1.0 - s) / 0.5
        return slope / (u * (1.0 - u)), slope

    return tf.clip_by_value(stretched, 0.0, 1.0), grad
