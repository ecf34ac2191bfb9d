"""A traced function followed in ball arithmetic gives what TensorFlow gives, and the slopes of its tape."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from gradcheck.backend.tensorflow.exact_graph import ExactGraph, NotExact
from gradcheck.exact.balls import Dual, lift

CLOSE = 1e-11


def followed(function, *arrays, variables=()):
    """Return what a function gives in floats, and its slope along a direction for each array, with TensorFlow's."""
    tensors = [tf.constant(array) for array in arrays]
    specs = [tf.TensorSpec(t.shape, t.dtype) for t in tensors]
    concrete = tf.function(lambda *xs: function(*xs), autograph=True).get_concrete_function(*specs)
    rng = np.random.default_rng(0)
    directions = [rng.integers(1, 9, t.shape).astype(float) for t in tensors]
    given = [
        Dual(lift(a).value, (lift(v).value,)) if a.dtype.kind == "f" else a
        for a, v in zip(arrays, directions, strict=True)
    ]
    found = ExactGraph(concrete, tuple(variables)).at(given, [lift(v.numpy()) for v in variables])[0]
    with tf.autodiff.ForwardAccumulator(
        [t for t in tensors if t.dtype.is_floating],
        [tf.constant(v) for t, v in zip(tensors, directions, strict=True) if t.dtype.is_floating],
    ) as accumulator:
        y = function(*tensors)
    slope = accumulator.jvp(y)
    return found, y.numpy(), None if slope is None else slope.numpy()


def floats(balls):
    return np.vectorize(float, otypes=[float])(balls)


def check(function, *arrays, variables=()):
    found, value, slope = followed(function, *arrays, variables=variables)
    np.testing.assert_allclose(floats(found.value), value, rtol=CLOSE, atol=CLOSE)
    if slope is not None and found.slopes:
        np.testing.assert_allclose(floats(found.slopes[0]), slope, rtol=CLOSE, atol=CLOSE)


X = np.random.default_rng(1).normal(size=(4, 3))
Y = np.random.default_rng(2).normal(size=(4, 3))
POSITIVE = np.abs(X) + 0.3
IMAGES = np.random.default_rng(3).normal(size=(2, 5, 4, 3))
FILTERS = np.random.default_rng(4).normal(size=(2, 3, 3, 2))

FUNCTIONS = {
    "elementwise": lambda x: tf.sin(x) * tf.exp(-x) + tf.math.softplus(x) / (1.5 + tf.tanh(x)),
    "powers": lambda x: x**3 + tf.abs(x) ** 1.5 + tf.math.rsqrt(1.0 + x * x),
    "special": lambda x: tf.math.erf(x) * tf.math.lgamma(x * x + 1.0) + tf.math.digamma(x * x + 1.0),
    "bessel": lambda x: tf.math.special.bessel_j1(x) + tf.math.bessel_i1(x) * tf.math.bessel_i0e(x),
    "moves": lambda x: tf.reshape(tf.transpose(tf.pad(x[1:, ::2], [[1, 0], [0, 2]])), [-1]) * 2.0,
    "gathers": lambda x: tf.gather(x, [2, 0, 2]) + tf.gather_nd(x, [[1, 1], [0, 0], [3, 2]])[:, None],
    "joins": lambda x: tf.concat([tf.stack([x, 2.0 * x])[1], tf.tile(x[:1], [2, 1])], 0),
    "squeezes": lambda x: tf.squeeze(tf.expand_dims(x, 1), 1)[None] * x,
    "diagonals": lambda x: tf.linalg.diag(x) + tf.linalg.band_part(tf.matmul(x[:, :, None], x[:, None]), 1, 0),
    "sums": lambda x: tf.reduce_sum(x, 0) * tf.reduce_mean(x) + tf.reduce_prod(x, 0) - tf.reduce_max(x, 1)[:3],
    "running": lambda x: tf.cumsum(x, 1, exclusive=True) * tf.math.cumprod(x, 0, reverse=True),
    "softmax": lambda x: tf.nn.softmax(x) * tf.nn.log_softmax(x, 0) + tf.reduce_logsumexp(x, -1, keepdims=True),
    "chooses": lambda x: tf.where(x > 0.1, x * x, tf.nn.elu(x)) + tf.clip_by_value(x, -0.5, 0.7) + tf.nn.relu6(8.0 * x),
    "orders": lambda x: tf.sort(x, -1) * tf.math.top_k(x, 3).values + tf.cast(tf.argmax(x, 1), x.dtype)[:, None],
    "segments": lambda x: tf.math.unsorted_segment_sum(x, [1, 0, 1, 2], 3)
    + tf.math.unsorted_segment_max(x, [0, 1, 2, 2], 3),
    "scatters": lambda x: tf.tensor_scatter_nd_add(x, [[1], [1]], x[:2]) + tf.scatter_nd([[0], [3]], x[2:], [4, 3]),
    "rounds": lambda x: tf.floor(3.0 * x) * x + tf.math.floormod(x, 0.7) + tf.round(x),
    "norms": lambda x: tf.math.l2_normalize(x, -1) * tf.norm(x) + tf.nn.l2_loss(x),
    "einsum": lambda x: tf.einsum("ij,kj->ik", x, x * x),
    "stops": lambda x: x * x + 0.0 * tf.stop_gradient(x),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_and_its_slope_are_those_of_tensorflow(name):
    check(FUNCTIONS[name], X)


@pytest.mark.parametrize(
    "function",
    [
        lambda a: tf.linalg.inv(a) + tf.linalg.det(a) * a,
        lambda a: tf.linalg.cholesky(tf.matmul(a, a, transpose_b=True)),
        lambda a: tf.linalg.solve(a, tf.transpose(a)) + tf.linalg.triangular_solve(a, a, lower=True),
        lambda a: tf.linalg.slogdet(a).log_abs_determinant * tf.linalg.matvec(a, a[0]),
    ],
)
def test_linear_algebra(function):
    check(function, X[:3] + 2 * np.eye(3))


def test_convolutions_and_pools():
    def function(x, w):
        y = tf.nn.conv2d(x, w, [1, 2, 1, 1], "SAME") + tf.reduce_sum(tf.nn.conv2d(x, w, 1, "SAME", dilations=2))
        return tf.nn.max_pool2d(y, 2, 1, "SAME") + tf.nn.avg_pool2d(y, [2, 3], 1, "SAME")

    check(function, IMAGES, FILTERS)


def test_the_gradient_of_a_convolution():
    def function(x, w):
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = tf.nn.depthwise_conv2d(tf.nn.conv2d(x, w, [1, 2, 2, 1], "SAME"), w[:, :, :2], [1, 1, 1, 1], "SAME")
            y = tf.nn.max_pool2d(tf.nn.avg_pool2d(y, 2, 1, "SAME"), 2, 1, "VALID")
        dx, dw = tape.gradient(y, [x, w])
        return tf.reduce_sum(dx) * dw

    found, value, _ = followed(function, IMAGES, FILTERS)
    np.testing.assert_allclose(floats(found.value), value, rtol=1e-9)


def test_losses_with_whole_labels():
    labels = np.array([0, 2, 1, 1], np.int64)
    check(lambda x, y: tf.nn.sparse_softmax_cross_entropy_with_logits(y, x), X, labels)


def test_a_conditional_and_a_loop_are_entered():
    def function(x):
        total = tf.zeros_like(x)
        for i in tf.range(3):
            total = total * x + tf.cast(i, x.dtype)
        return tf.cond(tf.reduce_sum(x) > -100.0, lambda: total * x, lambda: x)

    check(function, X)


def test_the_gradient_of_a_mapped_loop_is_followed():
    def function(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.map_fn(lambda row: tf.cumsum(row * row), x)
        return tape.gradient(y, x)

    found, value, _ = followed(function, X)
    np.testing.assert_allclose(floats(found.value), value, rtol=CLOSE)


def test_a_function_that_is_called_twice():
    inner = tf.function(lambda v: tf.sin(v) * v)
    check(lambda x: inner(x) + inner(2.0 * x), X)


def test_variables_are_read_and_assigned():
    scale = tf.Variable(np.full(3, 2.0))

    def function(x):
        y = x * scale
        scale.assign_add(tf.ones_like(scale))
        return y + x * scale

    concrete = tf.function(function).get_concrete_function(tf.TensorSpec((4, 3), tf.float64))
    found = ExactGraph(concrete, (scale,)).at([lift(X)], [lift(scale.numpy())])[0]
    np.testing.assert_allclose(floats(found.value), X * 5.0, rtol=CLOSE)
    assert scale.numpy().tolist() == [2.0] * 3


def test_python_code_is_named_with_its_kind_and_line():
    def function(x):
        return tf.numpy_function(np.sin, [x], tf.float64)

    with pytest.raises(NotExact) as raised:
        followed(function, X)
    assert raised.value.kind == "PyFunc"
    assert raised.value.place[0] == __file__


def test_a_kind_that_is_not_known_of_complex_numbers_says_so():
    with pytest.raises(NotExact, match="MatrixInverse of complex numbers is not known exactly"):
        followed(lambda x: tf.math.real(tf.linalg.inv(tf.complex(x[:2, :2], x[:2, :2]))), X)


def test_a_float32_constant_is_what_float32_makes_of_it():
    found, _, _ = followed(lambda x: x * tf.cast(tf.constant(0.1, tf.float32), tf.float64), np.ones(1))
    assert float(found.value[0]) == float(np.float32(0.1))
