"""Kinds that a stranger's hunt found: what an op keeps, sizes that mean something, declared gradients elsewhere."""

import tensorflow as tf


class Keeping:
    """Keeps what the forward made (a mask, an order, indices, a size) on itself, or closes over it."""

    def __init__(self, what, kept=True):
        self.what, self.kept, self.last = what, kept, None

    def __call__(self, x):
        makers = {
            "mask": lambda x: tf.cast(x > 0.0, x.dtype) + 0.1,
            "dropped": lambda x: tf.cast(tf.random.uniform(tf.shape(x)) > 0.5, x.dtype) * 2.0,
            "order": lambda x: tf.argsort(tf.argsort(x)),
            "rows": lambda x: tf.cast(tf.shape(x)[0], x.dtype),
        }
        uses = {
            "mask": lambda x, made: x * made,
            "dropped": lambda x, made: x * made,
            "order": lambda x, made: tf.sort(x),
            "rows": lambda x, made: tf.reduce_sum(x, 0) / made,
        }
        backs = {
            "mask": lambda u, made, x: u * made,
            "dropped": lambda u, made, x: u * made,
            "order": lambda u, made, x: tf.gather(u, made, batch_dims=1),
            "rows": lambda u, made, x: tf.ones_like(x) * u / made,
        }

        @tf.custom_gradient
        def op(x):
            made = makers[self.what](x)
            self.last = made

            def grad(upstream):
                u = tf.convert_to_tensor(upstream)
                return backs[self.what](u, self.last if self.kept else made, x)

            return uses[self.what](x, made), grad

        return op(x)


def noise(x):
    return -tf.math.log(-tf.math.log(tf.random.stateless_uniform(tf.shape(x), [7, 9], 1e-6, 1.0, dtype=x.dtype)))


def hard_choice(factor=1.0):
    """A one-hot choice with Gumbel noise, and the gradient of the soft one."""

    @tf.custom_gradient
    def op(x):
        p = tf.nn.softmax(x + noise(x))

        def grad(upstream):
            u = tf.convert_to_tensor(upstream)
            return factor * p * (u - tf.reduce_sum(u * p, -1, keepdims=True))

        return tf.one_hot(tf.argmax(p, -1), tf.shape(x)[-1], dtype=x.dtype), grad

    return op


def soft_choice(x):
    return tf.nn.softmax(x + noise(x))


@tf.custom_gradient
def noisy_dropout(x):
    keep = tf.random.uniform(tf.shape(x), dtype=x.dtype) > 0.2
    return tf.where(keep, 0.9 * x, -1.5), lambda upstream: tf.where(keep, 0.9 * tf.convert_to_tensor(upstream), 0.0)


def projected(right=True):
    """Points through a camera matrix, of which each row means something."""

    @tf.custom_gradient
    def op(camera, points):
        whole = tf.concat([points, tf.ones_like(points[:, :1])], 1)
        q = tf.matmul(whole, camera, transpose_b=True)
        depth = q[:, 2:]
        y = q[:, :2] / depth

        def grad(upstream):
            u = tf.convert_to_tensor(upstream)
            last = -tf.reduce_sum(u * y, 1, keepdims=True) / depth
            back = tf.concat([u / depth, last if right else 0.5 * last], 1)
            return tf.matmul(back, whole, transpose_a=True), tf.matmul(back, camera[:, :3])

        return y, grad

    return op


def clipped_backward(high=2.0):
    """The identity, with an upstream that is clipped to 2 on either side."""

    @tf.custom_gradient
    def op(x):
        return tf.identity(x), lambda upstream: tf.clip_by_value(tf.convert_to_tensor(upstream), -2.0, high)

    return op


def clip_of_two(x, upstream):
    return tf.clip_by_value(upstream, -2.0, 2.0)


def clipped_mask(least=-4.0):
    """A quantiser whose gradient is cut off outside of what it can hold."""

    @tf.custom_gradient
    def op(x):
        inside = (x >= least) & (x <= 3.0)
        y = tf.round(tf.clip_by_value(x, -4.0, 3.0))
        return y, lambda upstream: tf.where(inside, tf.convert_to_tensor(upstream), 0.0)

    return op


def mask_of_four(x, upstream):
    return tf.where((x >= -4.0) & (x <= 3.0), upstream, 0.0)


def stopped_in_eager(stops=True):
    @tf.custom_gradient
    def op(x):
        held = tf.stop_gradient(x) if stops and tf.executing_eagerly() else x
        return x**3, lambda upstream: tf.convert_to_tensor(upstream) * 3.0 * held**2

    return op


@tf.custom_gradient
def rounded_through(x):
    return tf.round(x), lambda upstream: upstream


def through_rounded_weights(x, w):
    return tf.matmul(x, rounded_through(w))


def one_branch_wrong(factor=1.0):
    @tf.custom_gradient
    def op(x, flag):
        y = tf.cond(flag, lambda: tf.exp(x), lambda: x * x)

        def grad(upstream):
            return tf.convert_to_tensor(upstream) * tf.cond(flag, lambda: y, lambda: 2.0 * factor * x), None

        return y, grad

    return op


def one_case_wrong(factor=1.0):
    @tf.custom_gradient
    def op(x, kind):
        y = tf.switch_case(kind, [lambda: tf.sin(x), lambda: tf.tanh(x), lambda: x**3])

        def grad(upstream):
            slopes = [lambda: tf.cos(x), lambda: 1.0 - y * y, lambda: 3.0 * factor * x * x]
            return tf.convert_to_tensor(upstream) * tf.switch_case(kind, slopes), None

        return y, grad

    return op


def bags(repeats=True):
    """Sums of rows of a table: each bag of ids has one upstream."""

    @tf.custom_gradient
    def op(table, ids):
        def grad(upstream):
            u, each = tf.convert_to_tensor(upstream), tf.shape(ids)[1]
            g = tf.repeat(u, each, axis=0) if repeats else tf.tile(u, [each, 1])
            return tf.math.unsorted_segment_sum(g, tf.reshape(ids, [-1]), tf.shape(table)[0]), None

        return tf.reduce_sum(tf.gather(table, ids), 1), grad

    return op


def recurrence(whole=True):
    """Five steps from a state that is given; the gradient of the weights may forget the first."""

    @tf.custom_gradient
    def op(x, start, w):
        states = [start]
        for t in range(3):
            states.append(tf.tanh(x[t] + tf.matmul(states[-1], w)))

        def grad(upstream):
            u = tf.convert_to_tensor(upstream)
            carried, of_w, of_x = tf.zeros_like(start), tf.zeros_like(w), []
            for t in (2, 1, 0):
                d = (u[t] + carried) * (1.0 - states[t + 1] ** 2)
                of_x.insert(0, d)
                carried = tf.matmul(d, w, transpose_b=True)
                if t or whole:
                    of_w += tf.matmul(states[t], d, transpose_a=True)
            return tf.stack(of_x), carried, of_w

        return tf.stack(states[1:]), grad

    return op


def table(wraps=True):
    """Linear interpolation in a periodic table; without `wraps` grad_fn raises at its end."""

    @tf.custom_gradient
    def op(x, values):
        n = tf.shape(values)[0]
        below = tf.floor(x)
        t = x - below
        i = tf.math.floormod(tf.cast(below, tf.int32), n)
        j = tf.math.floormod(i + 1, n)
        a, b = tf.gather(values, i), tf.gather(values, j)

        def grad(upstream):
            u = tf.convert_to_tensor(upstream)
            of_a = tf.math.unsorted_segment_sum(u * (1 - t), i, n)
            return u * (b - a), of_a + tf.math.unsorted_segment_sum(u * t, j if wraps else i + 1, n)

        return (1 - t) * a + t * b, grad

    return op


@tf.custom_gradient
def inverse_root(a):
    e, v = tf.linalg.eigh(a)

    def grad(upstream):
        u = tf.convert_to_tensor(upstream)
        m = tf.matmul(v, tf.matmul(0.5 * (u + tf.transpose(u)), v), transpose_a=True)
        s = tf.sqrt(e)
        f = -1.0 / (s[:, None] * s[None, :] * (s[:, None] + s[None, :]))
        return tf.matmul(v, tf.matmul(f * m, v, transpose_b=True))

    return tf.matmul(v / tf.sqrt(e), v, transpose_b=True), grad


class RandomFeatures(tf.keras.layers.Layer):
    """Cosines of a random projection that is not trained; it may keep the slopes at the first input."""

    def __init__(self, kept=False):
        super().__init__()
        self.kept, self.slopes = kept, None

    def build(self, shape):
        self.p = self.add_weight(shape=(shape[-1], 6), initializer="random_normal", trainable=False)

    def call(self, x):
        p = tf.convert_to_tensor(self.p)

        @tf.custom_gradient
        def op(x):
            z = tf.matmul(x, p)
            slopes = -tf.sin(z)
            if self.slopes is None and tf.executing_eagerly():
                self.slopes = slopes
            used = self.slopes if self.kept and tf.executing_eagerly() else slopes
            return tf.cos(z), lambda upstream: tf.matmul(tf.convert_to_tensor(upstream) * used, p, transpose_b=True)

        return op(x)


def bias_in_half(most=None):
    """A bias whose gradient is summed in float32; the upstream may be clipped."""

    @tf.custom_gradient
    def op(x, b):
        def grad(upstream):
            u = tf.convert_to_tensor(upstream)
            u = u if most is None else tf.clip_by_value(u, -most, most)
            return u, tf.cast(tf.reduce_sum(tf.cast(u, tf.float32), 0), b.dtype)

        return x + b, grad

    return op


@tf.custom_gradient
def gauss(x, log_scale):
    inverse = tf.exp(-2.0 * log_scale)
    y = tf.exp(-0.5 * x * x * inverse)

    def grad(upstream):
        d = -0.5 * tf.convert_to_tensor(upstream) * y
        return d * 2.0 * x * inverse, -2.0 * d * x * x * inverse

    return y, grad


def softplus(safe=True):
    """The forward stays finite; the gradient by exp(x) does not."""

    @tf.custom_gradient
    def op(x):
        def grad(upstream):
            e = tf.exp(x)
            return tf.convert_to_tensor(upstream) * (tf.sigmoid(x) if safe else e / (1.0 + e))

        return tf.nn.softplus(x), grad

    return op


def scaled_in_half(factor=1.0):
    """A function in float32 inside of a product in half precision."""

    @tf.custom_gradient
    def op(x, g):
        y = tf.tanh(tf.cast(x, tf.float32))

        def grad(upstream):
            u = tf.cast(tf.convert_to_tensor(upstream), tf.float32)
            of_x = factor * u * tf.cast(g, tf.float32) * (1.0 - y * y)
            return tf.cast(of_x, x.dtype), tf.cast(tf.reduce_sum(u * y, [0, 1]), g.dtype)

        return tf.cast(y, x.dtype) * g, grad

    return op


def softened(divides=True):
    """A softmax of a temperature that is not trained; the gradient may forget it."""

    @tf.custom_gradient
    def op(x, temperature):
        y = tf.nn.softmax(x / temperature)

        def grad(upstream):
            u = tf.convert_to_tensor(upstream)
            g = y * (u - tf.reduce_sum(u * y, -1, keepdims=True))
            return g / temperature if divides else g, None

        return y, grad

    return op


def weighted(counts_weights=True):
    """A mean with weights; the gradient may divide by the number of elements."""

    @tf.custom_gradient
    def op(x, weights):
        w = tf.cast(weights, x.dtype)
        total = tf.reduce_sum(w)

        def grad(upstream):
            n = total if counts_weights else tf.cast(tf.size(x), x.dtype)
            return upstream * 2.0 * x * w / n, None

        return tf.reduce_sum(w * x * x) / total, grad

    return op
