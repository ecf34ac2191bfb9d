"""Ops of the kinds that independent hunts found judged wrongly: wrong ones, and right twins beside them."""

import tensorflow as tf

# --- NaN where autodiff is NaN too -----------------------------------------------------------------------------------


def cosine_distance(right=True):
    """One minus the cosine of two rows, whose norm vanishes at a row of zeros."""

    def unit(x):
        n = tf.sqrt(tf.reduce_sum(x * x, axis=-1, keepdims=True))
        return tf.math.divide_no_nan(x, n), n

    @tf.custom_gradient
    def op(x, y):
        (a, n), (b, m) = unit(x), unit(y)
        c = tf.reduce_sum(a * b, axis=-1, keepdims=True)

        def grad(upstream):
            u = tf.convert_to_tensor(upstream)[..., None]
            divide = tf.math.divide_no_nan if right else tf.divide
            return -u * divide(b - c * a, n), -u * divide(a - c * b, m)

        return 1.0 - c[..., 0], grad

    return op


def row_norm(right=True):
    """The length of each row; its rule is 0 at a row of zeros, or 0 / 0."""

    @tf.custom_gradient
    def op(x):
        n = tf.sqrt(tf.reduce_sum(x * x, axis=-1, keepdims=True))

        def grad(upstream):
            u = tf.convert_to_tensor(upstream)[..., None]
            return u * (tf.math.divide_no_nan(x, n) if right else x / n)

        return n[..., 0], grad

    return op


def spread(x):
    """Plain TensorFlow: the standard deviation of a row, kept away from zero inside of the root."""
    return tf.sqrt(tf.math.reduce_variance(x, axis=-1) + 1e-3)


def spread_of_equal(x):
    """The same without the guard: NaN at a row of equal numbers."""
    return tf.math.reduce_std(x, axis=-1)


# --- Outside of the domain -------------------------------------------------------------------------------------------


@tf.custom_gradient
def log_of(x):
    return tf.math.log(x), lambda u: u / x


@tf.custom_gradient
def log_of_doubled(x):
    return tf.math.log(x), lambda u: 2.0 * u / x


@tf.custom_gradient
def arc_cosine(x):
    return tf.acos(x), lambda u: -u / tf.sqrt(1.0 - x * x)


def power(x):
    return tf.pow(x, 1.5)


# --- A batch of one --------------------------------------------------------------------------------------------------


def mean_loss(right=True):
    @tf.custom_gradient
    def op(x):
        n = tf.cast(tf.shape(x)[0], x.dtype)

        def grad(upstream):
            return 2.0 * upstream * x / (n if right else tf.maximum(n, 2.0))

        return tf.reduce_sum(x * x) / n, grad

    return op


def rows_scored(right=True):
    @tf.custom_gradient
    def op(x):
        def grad(upstream):
            u = tf.convert_to_tensor(upstream)[:, None]
            return u * (x if right else tf.squeeze(x))

        return 0.5 * tf.reduce_sum(x * x, axis=1), grad

    return op


# --- Half precision only ---------------------------------------------------------------------------------------------


def scaled_in(dtype, scale):
    """A hyperbolic tangent whose rule has another scale in one dtype."""

    @tf.custom_gradient
    def op(x):
        y = tf.tanh(x)
        factor = scale if x.dtype.name == dtype else 1.0
        return y, lambda u: factor * u * (1.0 - y * y)

    return op


def softplus_in_half(right=True):
    """The usual right rule, written with constants that half precision rounds."""

    @tf.custom_gradient
    def op(x):
        slope = tf.sigmoid(1.7 * x)
        if not right and x.dtype == tf.float16:
            slope = tf.where(x > 0, slope, 1.06 * slope)
        return tf.nn.softplus(1.7 * x) / 1.7, lambda u: u * slope

    return op


# --- Small factors ---------------------------------------------------------------------------------------------------


def gauss(scale=1.0):
    @tf.custom_gradient
    def op(x):
        y = tf.exp(-0.5 * x * x)
        return y, lambda u: -scale * u * x * y

    return op


def swish(scale=1.0):
    @tf.custom_gradient
    def op(x):
        s = tf.sigmoid(x)
        return x * s, lambda u: u * s * (1.0 + x * (1.0 - s)) * scale

    return op


# --- Random numbers in the backward pass -----------------------------------------------------------------------------


def dropped(right=True):
    @tf.custom_gradient
    def op(x):
        mask = tf.cast(tf.random.uniform(tf.shape(x)) < 0.6, x.dtype) / 0.6

        def grad(upstream):
            again = mask if right else tf.cast(tf.random.uniform(tf.shape(x)) < 0.6, x.dtype) / 0.6
            return upstream * again

        return x * mask, grad

    return op


def noisy_gate(right=True):
    def gate(x, seed):
        return tf.cast(tf.random.stateless_uniform(tf.shape(x), seed) < tf.sigmoid(x), x.dtype)

    @tf.custom_gradient
    def op(x):
        mask = gate(x, [1, 2])

        def grad(upstream):
            return upstream * (mask if right else gate(x, [3, 4]))

        return x * mask, grad

    return op


@tf.recompute_grad
def recomputed_noise(x):
    return tf.sin(x) * tf.random.normal(tf.shape(x))


# --- Rules that never run --------------------------------------------------------------------------------------------


@tf.custom_gradient
def cube(x):
    return x**3, lambda u: 3.0 * u * x * x


def vectorised_cubes(x):
    return tf.vectorized_map(cube, x)


def mapped_cubes(x):
    return tf.map_fn(lambda r: r**3, x)


def plain_square(x):
    return x * x


def clipped(x, upstream):
    return tf.clip_by_value(2.0 * upstream * x, -0.1, 0.1)


# --- Nothing to learn, nothing connected -----------------------------------------------------------------------------


def counted(x):
    return tf.reduce_sum(tf.cast(x > 0.0, x.dtype), axis=-1)


def hardest(x):
    return tf.one_hot(tf.argmax(x, axis=-1), 3)


def shape_only(x):
    return tf.zeros_like(x)


def smoothed_count(x):
    return tf.reduce_sum(tf.sigmoid(4.0 * x), axis=-1)


# --- Variables -------------------------------------------------------------------------------------------------------

GAIN = tf.Variable([0.7, -1.3], name="gain")
GAIN_AT_IMPORT = GAIN.numpy()
STRENGTH = tf.Variable(1.0, trainable=False, name="strength")


def gained(right=True):
    @tf.custom_gradient
    def op(x):
        gain = tf.convert_to_tensor(GAIN)

        def grad(upstream, variables=None):
            kept = gain if right else tf.constant(GAIN_AT_IMPORT)
            return upstream * kept, [tf.reduce_sum(upstream * x, axis=0)]

        return x * gain, grad

    return op


@tf.custom_gradient
def _reversed(x, strength):
    return tf.identity(x), lambda u: (-strength * u, None)


def reversed_by(x):
    return _reversed(x, STRENGTH.read_value())


def reversed_twice(x):
    return _reversed(x, 2.0 * STRENGTH.read_value())


def minus(x):
    return -x


class Affine(tf.keras.layers.Layer):
    """Scale and shift, the variables' gradients looked up by name or given in the wrong order."""

    def __init__(self, right=True):
        super().__init__()
        self.right = right

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1], 2), name="scale")
        self.shift = self.add_weight(shape=(2,), name="shift")

    def call(self, x):
        @tf.custom_gradient
        def f(x):
            scale, shift = tf.convert_to_tensor(self.scale), tf.convert_to_tensor(self.shift)

            def grad(upstream, variables=None):
                u = tf.convert_to_tensor(upstream)
                found = {(2,): tf.reduce_sum(u, 0), (x.shape[-1], 2): tf.transpose(x) @ u}
                order = [tuple(v.shape) for v in variables] if self.right else list(found)
                return u @ tf.transpose(scale), [found[shape] for shape in order]

            return x @ scale + shift, grad

        return f(x)


class Remembering(tf.keras.layers.Layer):
    """A weight whose gradient is taken with the input of the last call, or of its own."""

    def __init__(self, right=True):
        super().__init__()
        self.right = right

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1],), name="w", initializer="ones")

    def call(self, x):
        self.last = x

        @tf.custom_gradient
        def f(x):
            w = tf.convert_to_tensor(self.w)

            def grad(upstream, variables=None):
                seen = x if self.right else self.last
                return upstream * w, [tf.reduce_sum(upstream * seen, axis=0)]

            return x * w, grad

        return f(x)


class ClippedAffine(tf.keras.layers.Layer):
    """A clipped upstream below a layer; the weight's gradient is the layer's own, or a wrong one of a rule."""

    def __init__(self, right=True):
        super().__init__()
        self.right = right

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1],), name="w", initializer="ones")

    def call(self, x):
        @tf.custom_gradient
        def f(x):
            w = tf.convert_to_tensor(self.w)

            def grad(upstream, variables=None):
                small = tf.clip_by_value(upstream, -0.1, 0.1)
                return small * w, [tf.reduce_sum(upstream * x, axis=0) * (1.0 if self.right else 3.0)]

            return x * w, grad

        return f(x)


def clipped_upstream(x, upstream):
    return tf.clip_by_value(upstream, -0.1, 0.1)


# --- Ops that refuse inputs ------------------------------------------------------------------------------------------


def increments(right=True):
    """Differences of increasing times, which refuses times that do not increase."""

    @tf.custom_gradient
    def op(t):
        tf.debugging.assert_greater(t[1:], t[:-1], message="times must increase")
        d = t[1:] - t[:-1]

        def grad(upstream):
            g = tf.convert_to_tensor(upstream) * 2.0 * d * (1.0 if right else 1.002)
            return tf.concat([[0.0], g], 0) - tf.concat([g, [0.0]], 0)

        return d * d, grad

    return op


def probabilities(right=True):
    """An entropy, which refuses numbers that are not between 0 and 1."""

    @tf.custom_gradient
    def op(p):
        if not bool(tf.reduce_all((p > 0.0) & (p < 1.0))):
            raise ValueError("probabilities lie between 0 and 1")
        return -tf.reduce_sum(p * tf.math.log(p)), lambda u: -u * (tf.math.log(p) + (1.0 if right else 0.0))

    return op


# --- XLA's decompositions --------------------------------------------------------------------------------------------


def log_spectrum(right=True):
    @tf.custom_gradient
    def op(a):
        e, v = tf.linalg.eigh(a)

        def grad(upstream):
            u = tf.convert_to_tensor(upstream) / e * (1.0 if right else 1.1)
            return v @ (u[:, None] * tf.transpose(v))

        return tf.math.log(e), grad

    return op


def singular_values(right=True):
    @tf.custom_gradient
    def op(a):
        s, u, v = tf.linalg.svd(a)

        def grad(upstream):
            w = tf.convert_to_tensor(upstream)[None, :]
            return (u * w) @ tf.transpose(v) if right else (v * w) @ tf.transpose(u)

        return s, grad

    return op


# --- Waves far out ---------------------------------------------------------------------------------------------------


def wave(limit=1e30, speed=1.0):
    @tf.custom_gradient
    def op(x):
        slope = tf.where(tf.abs(x) < limit, speed * tf.cos(speed * x), 0.0)
        return tf.sin(speed * x), lambda u: u * slope

    return op


# --- Second derivatives ----------------------------------------------------------------------------------------------


def root_power(right=True):
    """|x|^3 with a rule whose derivative is 0 / 0 at zero, or none."""

    @tf.custom_gradient
    def op(x):
        def grad(upstream):
            return upstream * 3.0 * x * (tf.abs(x) if right else tf.pow(x * x, 0.5))

        return tf.abs(x) ** 3, grad

    return op


# --- Straight-through steps inside a larger op -----------------------------------------------------------------------


@tf.custom_gradient
def ste_sign(x):
    return tf.sign(x), lambda u: u * tf.cast(tf.abs(x) < 1.0, x.dtype)


def binarised(x, w):
    return tf.matmul(ste_sign(x), w)


def signed_square(x):
    return ste_sign(x) * x * x


@tf.custom_gradient
def doubled_square(x):
    return x * x, lambda u: 4.0 * u * x


def rounded_and_wrong(x):
    return ste_sign(x) * doubled_square(x)


# --- Dtypes inside ---------------------------------------------------------------------------------------------------


@tf.custom_gradient
def _energy(z):
    return tf.math.real(z * tf.math.conj(z)), lambda u: 2.0 * tf.math.real(z) * u


def energy(x):
    """Its inner rule returns real numbers for complex ones, which are real here."""
    return _energy(tf.complex(x, tf.zeros_like(x)))


WAVES = {
    "plain": tf.sin,
    "growing": lambda x: x * tf.sin(x),
    "cubic": lambda x: x**3 * tf.sin(x),
    "chirp": lambda x: tf.sin(x * x),
}


def one_of_many_waves(kind, cut=None):
    """A wave, with its gradient cut off far out."""

    @tf.custom_gradient
    def op(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = WAVES[kind](x)
        slope = tape.gradient(y, x)
        if cut is not None:
            slope = tf.where(tf.abs(x) < cut, slope, 0.0)
        return y, lambda upstream: tf.convert_to_tensor(upstream) * slope

    return op


def masked_softmax(right=True):
    """A softmax of logits of which some are minus infinity, as masks make them."""

    @tf.custom_gradient
    def op(x):
        y = tf.nn.softmax(x)

        def grad(upstream):
            upstream = tf.convert_to_tensor(upstream)
            slope = y * (upstream - tf.reduce_sum(upstream * y, -1, keepdims=True))
            return slope if right else slope + 0.0 * x

        return y, grad

    return op


def bounded(kind, right=True):
    """Functions that have limits at both ends, with formulas that are numbers there or are none."""
    forward = {"tanh": tf.tanh, "atan": tf.atan, "sigmoid": tf.sigmoid}[kind]

    @tf.custom_gradient
    def op(x):
        y = forward(x)

        def grad(upstream):
            upstream = tf.convert_to_tensor(upstream)
            slope = {"tanh": 1.0 - y * y, "atan": 1.0 / (1.0 + x * x), "sigmoid": y * (1.0 - y)}[kind]
            return upstream * slope * (1.0 if right else tf.where(tf.abs(x) < 1e30, 1.0, x / x))

        return y, grad

    return op


@tf.custom_gradient
def cube_stopped_beyond(x):
    """The second derivative is cut off on one side of a condition, where the first is right."""

    def grad(upstream):
        slope = 3.0 * x * x
        slope = tf.where(x > 2.5, tf.stop_gradient(slope) + 0.0 * x, slope)
        return tf.convert_to_tensor(upstream) * slope

    return x**3, grad


@tf.custom_gradient
def cube_written_twice(x):
    def grad(upstream):
        return tf.convert_to_tensor(upstream) * tf.where(x > 2.5, 3.0 * x * x, 3.0 * x**2)

    return x**3, grad


@tf.custom_gradient
def sine_stopped_for_large_sums(x):
    def grad(upstream):
        slope = tf.cond(tf.reduce_sum(x) > 8.0, lambda: tf.stop_gradient(tf.cos(x)) + 0.0 * x, lambda: tf.cos(x))
        return tf.convert_to_tensor(upstream) * slope

    return tf.sin(x), grad


@tf.custom_gradient
def huber_of_order_two(x):
    size = tf.abs(x)

    def grad(upstream):
        return tf.convert_to_tensor(upstream) * tf.where(size < 1.0, x, tf.sign(x))

    return tf.where(size < 1.0, 0.5 * x * x, size - 0.5), grad


@tf.custom_gradient
def relu_cubed(x):
    def grad(upstream):
        return tf.convert_to_tensor(upstream) * 3.0 * tf.nn.relu(x) ** 2

    return tf.nn.relu(x) ** 3, grad


def _nearly_one(x, times):
    """Return the log-determinant of one plus next to nothing: what is left are roundings of one."""
    a = 1e-3 * tf.sin(x)
    return times * tf.linalg.logdet(tf.matmul(a, a, transpose_b=True) + tf.eye(x.shape[0], dtype=x.dtype))


def logdet_of_nearly_one(by_mode=False):
    """XLA's roundings of one are others than eager's; the value may depend on the mode by mistake."""

    @tf.custom_gradient
    def op(x):
        times = 3.0 if by_mode and not tf.executing_eagerly() else 1.0
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = _nearly_one(x, 1.0)
        slope = tape.gradient(y, x)
        return times * y, lambda u: u * slope

    return op


def _by_autodiff(forward, times=1.0, in_graphs=None):
    """Return the op with TensorFlow's own gradient of its forward, times a number: another one in graphs if given."""

    @tf.custom_gradient
    def op(x):
        def grad(upstream):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = forward(x)
            factor = times if in_graphs is None or tf.executing_eagerly() else in_graphs
            return factor * tape.gradient(y, x, output_gradients=upstream)

        return forward(x), grad

    return op


# Smooth at 0, made of parts that bend there.
least_of_two = _by_autodiff(lambda x: tf.minimum(tf.math.asinh(tf.nn.leaky_relu(x)), x))
both_halves = _by_autodiff(lambda x: tf.nn.relu(x) - tf.nn.relu(-x))
both_clipped = _by_autodiff(lambda x: tf.maximum(x, 0.0) + tf.minimum(x, 0.0))
both_halves_twice = _by_autodiff(lambda x: tf.nn.relu(x) - tf.nn.relu(-x), 2.0)


@tf.custom_gradient
def relu_and_product(x):
    """A bend at 0 is no excuse for the product that is divided by its factors."""
    y = tf.reduce_prod(x, -1, keepdims=True)

    def grad(upstream):
        upstream = tf.convert_to_tensor(upstream)
        others = tf.where(x == 0, tf.zeros_like(x), y / x)
        through = tf.reduce_sum(upstream, -1, keepdims=True) * others
        return upstream * tf.cast(x > 0, x.dtype) + through

    return tf.nn.relu(x) + y, grad


def median_of_three(one_sided=False):
    """The median of each element and its neighbours, from minima and maxima.

    `one_sided`: the last of three gets the gradient only if it is no tie and lies in the upper half.
    """

    @tf.custom_gradient
    def op(x):
        a, b, c = x[:, :-2], x[:, 1:-1], x[:, 2:]
        low, high = tf.minimum(a, b), tf.maximum(a, b)

        def grad(upstream):
            of_c = ((0.5 * (low + high) if one_sided else low) <= c) & (c <= high)
            of_a = ~of_c & ((c < low) == (a <= b))
            parts = [tf.where(k, upstream, tf.zeros_like(upstream)) for k in (of_a, ~of_c & ~of_a, of_c)]
            return tf.add_n([tf.pad(part, [[0, 0], [j, 2 - j]]) for j, part in enumerate(parts)])

        return tf.maximum(low, tf.minimum(high, c)), grad

    return op


def least_squares(sign=-1.0):
    """The solution of the normal equations, which are singular where rows are equal."""

    @tf.custom_gradient
    def op(a, b):
        inverse = tf.linalg.inv(tf.matmul(a, a, transpose_a=True))
        x = tf.linalg.matvec(inverse, tf.linalg.matvec(a, b, transpose_a=True))

        def grad(upstream):
            w = tf.linalg.matvec(inverse, upstream)
            left, aw = b - tf.linalg.matvec(a, x), tf.linalg.matvec(a, w)
            return left[:, None] * w[None, :] + sign * aw[:, None] * x[None, :], aw

        return x, grad

    return op


def log_volume(scale=2.0):
    """The log-determinant of a Gram matrix, which is singular where there are more rows than columns."""

    @tf.custom_gradient
    def op(x):
        gram = tf.matmul(x, x, transpose_b=True)
        return tf.linalg.slogdet(gram)[1], lambda u: scale * u * tf.linalg.solve(gram, x)

    return op


def gated(inner):
    """x times a gate whose own rule is used by the second derivative alone."""

    @tf.custom_gradient
    def op(x):
        s = inner(x)
        y = x * s

        def grad(upstream):
            return upstream * (s + y * (1.0 - s))

        return y, grad

    return op


@tf.custom_gradient
def gate(x):
    s = tf.sigmoid(x)
    return s, lambda u: u * s * (1.0 - s)


@tf.custom_gradient
def gate_without_its_complement(x):
    s = tf.sigmoid(x)
    return s, lambda u: u * s


gated_right, gated_by_a_wrong_rule = gated(gate), gated(gate_without_its_complement)


def saturated(by_mode=False):
    def forward(x):
        # Where this is 1, XLA's slope of the sigmoid is a rounding times a slope of thousands.
        squares = x * x
        below = tf.reduce_max(squares, -1, keepdims=True) - squares
        return tf.sigmoid(tf.math.lgamma(below * below + 1.0))

    return _by_autodiff(forward, in_graphs=1.5 if by_mode else None)
