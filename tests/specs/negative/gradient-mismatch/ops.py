import tensorflow as tf


@tf.custom_gradient
def cube(x):
    return x**3, lambda upstream: upstream * 3.0 * x * x


@tf.custom_gradient
def cube_sign(x):
    return x**3, lambda upstream: -upstream * 3.0 * x * x


@tf.custom_gradient
def cube_factor(x):
    return x**3, lambda upstream: upstream * 2.0 * x * x


@tf.custom_gradient
def product(x, y):
    return x * x * y, lambda upstream: (upstream * 2.0 * x * y, upstream * x * x)


@tf.custom_gradient
def product_swapped(x, y):
    return x * x * y, lambda upstream: (upstream * x * x, upstream * 2.0 * x * y)


@tf.custom_gradient
def matmul_transposed(a, b):
    return tf.matmul(a, b), lambda upstream: (
        tf.transpose(tf.matmul(upstream, b, transpose_b=True)),
        tf.matmul(a, upstream, transpose_a=True),
    )


@tf.custom_gradient
def elu_region(x):
    """The gradient below zero misses the exponential."""
    return tf.where(x > 0.0, x, tf.math.expm1(x)), lambda upstream: upstream * tf.where(x > 0.0, 1.0, 0.5)


@tf.custom_gradient
def square_far(x):
    """Right near zero, wrong beyond 5."""
    return x * x, lambda upstream: upstream * tf.clip_by_value(2.0 * x, -10.0, 10.0)


@tf.custom_gradient
def cube_first(x):
    def grad(upstream):
        return tf.concat([tf.zeros_like(x[:1]), (upstream * 3.0 * x * x)[1:]], 0)

    return x**3, grad


@tf.custom_gradient
def two_outputs(x, y):
    def grad(upstream_product, upstream_sum):
        return upstream_product * y + 2.0 * upstream_sum, upstream_product * x + upstream_sum

    return (x * y, x + y), grad


@tf.custom_gradient
def product_rule(x):
    return x * tf.sin(x), lambda upstream: upstream * tf.sin(x)


@tf.custom_gradient
def cube_zero(x):
    return x**3, lambda upstream: tf.zeros_like(x)


@tf.custom_gradient
def mean_square(x):
    return tf.reduce_mean(x * x), lambda upstream: upstream * 2.0 * x


@tf.custom_gradient
def complex_square(z):
    return z * z, lambda upstream: upstream * tf.math.conj(2.0 * z)


@tf.custom_gradient
def complex_square_conjugate(z):
    return z * z, lambda upstream: upstream * 2.0 * z


@tf.custom_gradient
def round_through(x):
    return tf.round(x), lambda upstream: upstream


@tf.custom_gradient
def cube_strange(x):
    return x**3, lambda upstream: upstream * tf.cos(5.0 * x)


@tf.custom_gradient
def gate_stopped(x):
    s = tf.sigmoid(x)
    y = s * tf.sin(x) + tf.exp(s * x)
    return y, lambda u: u * s * tf.cos(x) + u * tf.exp(s * x) * (s + x * s * (1.0 - s))


@tf.custom_gradient
def inner_bypassed(x):
    s = tf.square(x)
    y = tf.exp(-s) * x
    return y, lambda u: u * (tf.exp(-s) - y)


@tf.custom_gradient
def relu_mask(x, w):
    y = tf.nn.relu(x @ w)

    def grad(u):
        d = u * tf.cos(y)
        return d @ tf.transpose(w), tf.transpose(x) @ d

    return tf.sin(y), grad


@tf.custom_gradient
def inner_factor(x, w):
    s = tf.tanh(x)
    return s * w + tf.sin(x), lambda u: (u * 3.0 * w * (1.0 - s * s) + u * tf.cos(x), u * s)


@tf.custom_gradient
def sigmoid_operand(x, w):
    s = tf.sigmoid(x)
    return s * w + tf.sin(x), lambda u: (u * w * s + u * tf.cos(x), u * s)


@tf.custom_gradient
def averaged_axis(x, w):
    s = tf.sin(x)

    def grad(u):
        d = u * w * tf.cos(x)
        d = tf.reduce_mean(d, 0, keepdims=True) * tf.ones_like(x)
        return d + u * 2.0 * x, u * s

    return s * w + x * x, grad


@tf.custom_gradient
def shifted_index(x, w):
    s = tf.sin(x)

    def grad(u):
        d = u * w * tf.cos(x)
        return tf.roll(d, 1, -1) + u * 2.0 * x, u * s

    return s * w + x * x, grad


@tf.custom_gradient
def power_of_given(x, n):
    return tf.pow(x, n), lambda upstream: (upstream * n * tf.pow(x, n - 1.0), None)


@tf.custom_gradient
def power_of_given_two(x, n):
    return tf.pow(x, n), lambda upstream: (upstream * 2.0 * x, None)


@tf.custom_gradient
def shifted_by_none(x, unused):
    """The output does not read `unused`; zeros are its gradient."""
    return tf.sin(x), lambda upstream: (upstream * tf.cos(x), tf.zeros_like(unused))


@tf.custom_gradient
def shifted_by_unused(x, unused):
    return tf.sin(x), lambda upstream: (upstream * tf.cos(x), upstream)


def _gelu_slope(x, approximates):
    if approximates:
        return tf.sigmoid(1.702 * x) * (1.0 + 1.702 * x * (1.0 - tf.sigmoid(1.702 * x)))
    return 0.5 + 0.5 * tf.math.erf(x / 2.0**0.5) + x * tf.exp(-0.5 * x * x) * 0.3989422804014327


@tf.custom_gradient
def gelu(x):
    return 0.5 * x * (1.0 + tf.math.erf(x / 2.0**0.5)), lambda upstream: upstream * _gelu_slope(x, approximates=False)


@tf.custom_gradient
def gelu_by_sigmoid(x):
    return 0.5 * x * (1.0 + tf.math.erf(x / 2.0**0.5)), lambda upstream: upstream * _gelu_slope(x, approximates=True)
