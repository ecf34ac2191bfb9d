"""Over a hundred functions of TensorFlow have the values and the slopes in ball arithmetic that TensorFlow gives."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from gradcheck.backend.tensorflow.exact_graph import ExactGraph, NotExact
from gradcheck.exact.balls import Dual, lift

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 3))
POSITIVE = np.abs(X) + 0.3
SQUARE = RNG.normal(size=(3, 3))
DEFINITE = SQUARE @ SQUARE.T + np.eye(3)
IMAGES = RNG.normal(size=(2, 6, 6, 3))
VECTOR = RNG.normal(size=(6,))
FUNCTIONS = {
    "reduce_std": (lambda x: tf.math.reduce_std(x, 0), X),
    "var": (lambda x: tf.math.reduce_variance(x), X),
    "lse": (lambda x: tf.reduce_logsumexp(x), X),
    "cumlse": (lambda x: tf.math.cumulative_logsumexp(x, 1), X),
    "any": (lambda x: tf.cast(tf.reduce_any(x > 0, 1), x.dtype), X),
    "unstack": (lambda x: tf.unstack(x)[1] + tf.unstack(x, axis=1)[0][:3], X),
    "split": (lambda x: tf.split(x, [1, 2], 1)[1], X),
    "repeat": (lambda x: tf.repeat(x, [1, 2, 1], axis=1), X),
    "roll": (lambda x: tf.roll(x, [1, 2], [0, 1]), X),
    "reverse": (lambda x: tf.reverse(x, [0]) * x, X),
    "meshgrid": (lambda x: tf.meshgrid(x[0], x[1])[0], X),
    "boolean_mask": (lambda x: tf.boolean_mask(x, x > 0), X),
    "where1": (lambda x: tf.gather_nd(x, tf.where(x > 0)), X),
    "one_hot": (lambda x: tf.one_hot([0, 2], 3, on_value=x[0, 0], off_value=x[1, 1]), X),
    "eye": (lambda x: x @ tf.eye(3, dtype=x.dtype), X),
    "linspace": (lambda x: tf.linspace(x[0, 0], x[0, 1], 5), X),
    "range": (lambda x: tf.range(3, dtype=tf.float64) * x, X),
    "logdet": (lambda x: tf.linalg.logdet(x), DEFINITE),
    "chol_solve": (lambda x: tf.linalg.cholesky_solve(tf.linalg.cholesky(x), x), DEFINITE),
    "expm": (lambda x: tf.linalg.expm(x), SQUARE * 0.3),
    "trace": (lambda x: tf.linalg.trace(x), SQUARE),
    "norm1": (lambda x: tf.norm(x, 1, axis=1), X),
    "norminf": (lambda x: tf.norm(x, np.inf, axis=1), X),
    "band": (lambda x: tf.linalg.band_part(x, 0, -1), SQUARE),
    "tensordot": (lambda x: tf.tensordot(x, x, [[0], [0]]), X),
    "adjoint": (lambda x: tf.linalg.adjoint(x), SQUARE),
    "toep": (lambda x: tf.linalg.LinearOperatorToeplitz(x[0], x[0]).to_dense(), X),
    "gelu": (tf.nn.gelu, X),
    "gelu_a": (lambda x: tf.nn.gelu(x, True), X),
    "silu": (tf.nn.silu, X),
    "softsign": (tf.nn.softsign, X),
    "mish": (lambda x: tf.keras.activations.mish(x), X),
    "crelu": (tf.nn.crelu, X),
    "selu": (tf.nn.selu, X),
    "leaky": (lambda x: tf.nn.leaky_relu(x, 0.1), X),
    "hsig": (lambda x: tf.keras.activations.hard_sigmoid(x), X),
    "bce": (lambda x: tf.nn.sigmoid_cross_entropy_with_logits(tf.ones_like(x) * 0.3, x), X),
    "wce": (lambda x: tf.nn.weighted_cross_entropy_with_logits(tf.ones_like(x), x, 2.0), X),
    "logloss": (lambda x: tf.nn.log_poisson_loss(tf.ones_like(x), x, True), X),
    "huber": (lambda x: tf.keras.losses.huber(tf.zeros_like(x), x), X),
    "cosine": (lambda x: tf.keras.losses.cosine_similarity(x, x * x), X),
    "bn": (lambda x: tf.nn.batch_normalization(x, 0.1, 1.3, None, None, 0.001), X),
    "moments": (lambda x: tf.nn.moments(x, [0])[1], X),
    "maxpool": (lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID"), IMAGES),
    "avg": (lambda x: tf.nn.avg_pool2d(x, 3, 2, "SAME"), IMAGES),
    "conv1d": (lambda x: tf.nn.conv1d(x[0], x[0, :2, :3], 1, "SAME"), IMAGES),
    "convT": (
        lambda x: tf.nn.conv2d_transpose(
            x, x[0, :2, :2][:, :, :, None] * tf.ones([1, 1, 1, 3], x.dtype), [2, 12, 12, 3], 2
        ),
        IMAGES,
    ),
    "patches": (lambda x: tf.image.extract_patches(x, [1, 2, 2, 1], [1, 1, 1, 1], [1, 1, 1, 1], "VALID"), IMAGES),
    "s2d": (lambda x: tf.nn.space_to_depth(x, 2), IMAGES),
    "d2s": (lambda x: tf.nn.depth_to_space(tf.tile(x, [1, 1, 1, 4]), 2), IMAGES),
    "flip": (lambda x: tf.image.flip_left_right(x), IMAGES),
    "pad_reflect": (lambda x: tf.pad(x, [[1, 1], [1, 1]], "REFLECT"), X),
    "sobel": (lambda x: tf.image.sobel_edges(x), IMAGES),
    "tv": (lambda x: tf.image.total_variation(x), IMAGES),
    "seg_mean": (lambda x: tf.math.segment_mean(x, [0, 0, 1, 1]), X),
    "useg_mean": (lambda x: tf.math.unsorted_segment_mean(x, [0, 1, 0, 1], 2), X),
    "useg_prod": (lambda x: tf.math.unsorted_segment_prod(x, [0, 1, 0, 1], 2), X),
    "useg_sqrtn": (lambda x: tf.math.unsorted_segment_sqrt_n(x, [0, 1, 0, 1], 2), X),
    "useg_min": (lambda x: tf.math.unsorted_segment_min(x, [0, 1, 0, 1], 2), X),
    "emb": (lambda x: tf.nn.embedding_lookup(x, [[0, 1], [2, 2]]), X),
    "tsub": (lambda x: tf.tensor_scatter_nd_sub(x, [[0], [0]], x[:2]), X),
    "dyn": (lambda x: tf.dynamic_stitch([[0, 2], [1, 3]], [x[:2], x[2:]]), X),
    "part": (lambda x: tf.dynamic_partition(x, [0, 1, 0, 1], 2)[1], X),
    "erfinv": (lambda x: tf.math.erfinv(tf.tanh(x)), X),
    "ndtri": (lambda x: tf.math.ndtri(tf.sigmoid(x)), X),
    "polygamma": (lambda x: tf.math.polygamma(tf.ones_like(x), x), POSITIVE),
    "zeta": (lambda x: tf.math.zeta(tf.ones_like(x) * 2.5, x), POSITIVE),
    "igamma": (lambda x: tf.math.igamma(tf.ones_like(x) * 2.0, x), POSITIVE),
    "igammac": (lambda x: tf.math.igammac(tf.ones_like(x) * 2.0, x), POSITIVE),
    "lbeta": (lambda x: tf.math.lbeta(x), POSITIVE),
    "bessel": (
        lambda x: (
            tf.math.bessel_i0(x)
            + tf.math.bessel_i1e(x)
            + tf.math.special.bessel_k0e(tf.abs(x))
            + tf.math.special.bessel_y1(tf.abs(x) + 0.1)
        ),
        X,
    ),
    "spence": (lambda x: tf.math.special.spence(x), POSITIVE),
    "expint": (lambda x: tf.math.special.expint(x), POSITIVE),
    "fres": (lambda x: tf.math.special.fresnel_cos(x) + tf.math.special.fresnel_sin(x), X),
    "dawsn": (tf.math.special.dawsn, X),
    "sinpi": (lambda x: tf.math.sin(np.pi * x) / x, X),
    "xlogy": (lambda x: tf.math.xlogy(x, POSITIVE), X),
    "xlog1py": (lambda x: tf.math.xlog1py(x, POSITIVE), X),
    "xdivy": (lambda x: tf.math.xdivy(x, POSITIVE), X),
    "mulnn": (lambda x: tf.math.multiply_no_nan(x, tf.cast(POSITIVE > 0.8, tf.float64)), X),
    "divnn": (lambda x: tf.math.divide_no_nan(x, tf.cast(POSITIVE > 0.8, tf.float64)), X),
    "recip_nn": (lambda x: tf.math.reciprocal_no_nan(x), X),
    "pow": (lambda x: tf.pow(POSITIVE, x) + x**2 + x ** (-1.0), X),
    "atan2": (lambda x: tf.atan2(x, POSITIVE), X),
    "hyp": (lambda x: tf.sinh(x) + tf.asinh(x) + tf.atanh(tf.tanh(x)) + tf.acosh(POSITIVE + 1.0), X),
    "trig": (lambda x: tf.tan(x) + tf.asin(tf.tanh(x)) + tf.acos(tf.tanh(x)), X),
    "log_sigmoid": (tf.math.log_sigmoid, X),
    "softplus": (tf.nn.softplus, X),
    "expm1": (lambda x: tf.math.expm1(x) + tf.math.log1p(POSITIVE), X),
    "sign": (lambda x: tf.sign(x) * x + tf.abs(x), X),
    "rint": (lambda x: tf.math.rint(x) + tf.math.ceil(x), X),
    "floordiv": (lambda x: x // 0.7 + x % 0.7, X),
    "cumprod": (lambda x: tf.math.cumprod(x, 1, exclusive=True), X),
    "sort": (lambda x: tf.sort(x, 0, "DESCENDING"), X),
    "argsort": (lambda x: tf.gather(x[:, 0], tf.argsort(x[:, 0])), X),
    "topk": (lambda x: tf.math.top_k(x, 2)[0], X),
    "median": (lambda x: tf.sort(x, 1)[:, 1], X),
    "clipnorm": (lambda x: tf.clip_by_norm(x, 1.0), X),
    "gclip": (lambda x: tf.clip_by_global_norm([x], 1.0)[0][0], X),
    "l2n": (lambda x: tf.math.l2_normalize(x, 1), X),
    "scan": (lambda x: tf.scan(lambda a, b: a * b + b, x), X),
    "fold": (lambda x: tf.foldl(lambda a, b: tf.sin(a) + b, x), X),
    "map": (lambda x: tf.map_fn(tf.sin, x), X),
    "vmap": (lambda x: tf.vectorized_map(lambda v: tf.sin(v) * v, x), X),
    "while": (lambda x: tf.while_loop(lambda i, a: i < 5, lambda i, a: (i + 1, a * x), (0, tf.ones_like(x)))[1], X),
    "case": (lambda x: tf.switch_case(tf.constant(1), [lambda: x, lambda: x * x]), X),
    "eigh": (lambda x: tf.concat([tf.linalg.eigh(x)[0][None], tf.linalg.eigh(x)[1]], 0), DEFINITE),
    "eigvalsh": (lambda x: tf.linalg.eigvalsh(tf.stack([x, x @ x])), DEFINITE),
    "svd": (lambda x: tf.concat([tf.linalg.svd(x)[1], tf.linalg.svd(x)[2]], 0), X),
    "svd_wide": (lambda x: tf.concat([tf.linalg.svd(tf.transpose(x))[k] for k in (1, 2)], 0), X),
    "singular": (lambda x: tf.linalg.svd(tf.stack([x, x * x]), compute_uv=False), X),
    "qr": (lambda x: tf.concat(tf.linalg.qr(x), 0), X),
    "qr_many": (lambda x: tf.concat(tf.linalg.qr(tf.stack([x, x * x])), 1), X),
    "sparse": (
        lambda x: tf.sparse.sparse_dense_matmul(tf.SparseTensor([[0, 1], [2, 0]], x[:2, 0], [3, 4]), x * x),
        X,
    ),
    "sparse_adjoint": (
        lambda x: tf.sparse.sparse_dense_matmul(
            tf.SparseTensor([[0, 1], [2, 0]], x[:2, 0], [3, 4]), x[:3, :2], adjoint_a=True
        ),
        X,
    ),
    "nuclear": (lambda x: tf.reduce_sum(tf.linalg.svd(x, compute_uv=False)), X),
    "frame": (lambda x: tf.signal.frame(x, 3, 1), VECTOR),
}


def turned(x):
    """Return complex numbers with two different parts."""
    return tf.complex(x, tf.sin(x) + 0.3)


def both(z):
    """Return the real and imaginary part side by side."""
    return tf.stack([tf.math.real(z), tf.math.imag(z)])


COMPLEX = {
    "product": lambda x: both(turned(x) * turned(x * x)),
    "quotient": lambda x: both(turned(x) / turned(x + 2.0)),
    "conjugate": lambda x: both(tf.math.conj(turned(x)) * turned(x)),
    "size": lambda x: tf.abs(turned(x)),
    "angle": lambda x: tf.math.angle(turned(x)),
    "exp": lambda x: both(tf.exp(turned(x))),
    "log": lambda x: both(tf.math.log(turned(x)) + tf.math.log1p(turned(x))),
    "root": lambda x: both(tf.sqrt(turned(x)) + tf.math.rsqrt(turned(x))),
    "trigonometry": lambda x: both(tf.sin(turned(x)) + tf.cos(turned(x)) + tf.tan(turned(x))),
    "hyperbolic": lambda x: both(tf.sinh(turned(x)) + tf.cosh(turned(x)) + tf.tanh(turned(x))),
    "inverse": lambda x: both(tf.math.reciprocal(turned(x)) + tf.sigmoid(turned(x)) + tf.square(turned(x))),
    "power": lambda x: both(turned(x) ** 3 + turned(x) ** turned(x)),
    "difference": lambda x: both(tf.math.squared_difference(turned(x), turned(x * x))),
    "cast": lambda x: both(tf.cast(x, tf.complex128) * turned(x)) + tf.cast(turned(x), tf.float64),
    "sum": lambda x: both(tf.reduce_sum(turned(x), 0) + tf.reduce_mean(turned(x), 0) + tf.reduce_prod(turned(x), 0)),
    "cumsum": lambda x: both(tf.cumsum(turned(x), 1)),
    "matmul": lambda x: both(tf.matmul(turned(x), turned(x), adjoint_a=True)),
    "transposed": lambda x: both(tf.matmul(turned(x), turned(x * x), transpose_b=True)),
    "einsum": lambda x: both(tf.einsum("ij,ik->jk", turned(x), turned(x * x))),
    "where": lambda x: both(tf.where(x > 0, turned(x), tf.ones_like(turned(x)))),
    "fft": lambda x: both(tf.signal.fft(turned(x)) + tf.signal.ifft(turned(x))),
    "fft2d": lambda x: both(tf.signal.fft2d(turned(x)) + tf.signal.ifft2d(turned(x))),
    "rfft": lambda x: both(tf.signal.rfft(x)),
    "rfft_longer": lambda x: both(tf.signal.rfft(x, [8])),
    "rfft_shorter": lambda x: both(tf.signal.rfft(x, [2])),
    "rfft2d": lambda x: both(tf.signal.rfft2d(x, [4, 6])),
    "irfft": lambda x: tf.signal.irfft(turned(x)),
    "irfft_odd": lambda x: tf.signal.irfft(turned(x), [5]),
    "irfft2d": lambda x: tf.signal.irfft2d(turned(x), [4, 4]),
    "spectrum": lambda x: tf.abs(tf.signal.rfft(x)) ** 2,
}
# TensorFlow has no slope of their vectors in all shapes, and its numbers are smooth near these matrices.
DECOMPOSED = {"eigh", "eigvalsh", "svd", "svd_wide", "singular", "qr", "qr_many", "nuclear"}
NOT_KNOWN = {
    "Svd": lambda x: tf.linalg.svd(x, full_matrices=True)[1],
    "Qr": lambda x: tf.linalg.qr(tf.transpose(x))[1],
    "MatrixInverse": lambda x: tf.math.real(tf.linalg.inv(turned(x[:3]))),
    "Betainc": lambda x: tf.math.betainc(POSITIVE, POSITIVE, tf.sigmoid(x)),
}


def followed(function, x):
    spec = tf.TensorSpec(x.shape, tf.float64)
    concrete = tf.function(lambda v: function(v), autograph=False).get_concrete_function(spec)
    moving = Dual(lift(x).value, (lift(np.ones(x.shape)).value,))
    return ExactGraph(concrete, ()).at([moving], [])[0]


def floats(balls):
    return np.vectorize(float, otypes=[float])(balls)


def slope_of(function, x):
    """Return TensorFlow's slope along ones, None where it has none."""
    tensor = tf.constant(x)
    try:
        with tf.autodiff.ForwardAccumulator(tensor, tf.ones(x.shape, tf.float64)) as accumulator:
            y = function(tensor)
    except (LookupError, tf.errors.OpError):
        return None
    slope = accumulator.jvp(y)
    return None if slope is None else tf.convert_to_tensor(slope).numpy()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_value_and_slope_are_those_of_tensorflow(name):
    function, x = FUNCTIONS[name]
    found = followed(function, x)
    assert isinstance(found, Dual)
    np.testing.assert_allclose(floats(found.value), function(tf.constant(x)).numpy(), rtol=1e-5, atol=1e-6)
    slope = slope_of(function, x)
    if name in DECOMPOSED:
        step = 1e-6
        slope = (function(tf.constant(x + step)).numpy() - function(tf.constant(x - step)).numpy()) / (2 * step)
    if slope is not None and found.slopes:
        np.testing.assert_allclose(floats(found.slopes[0]), slope, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", COMPLEX)
def test_value_and_slope_of_complex_numbers_are_those_of_tensorflow(name):
    function = COMPLEX[name]
    found = followed(function, X)
    assert isinstance(found, Dual)
    np.testing.assert_allclose(floats(found.value), function(tf.constant(X)).numpy(), rtol=1e-9, atol=1e-9)
    step = 1e-6
    slope = (function(tf.constant(X + step)).numpy() - function(tf.constant(X - step)).numpy()) / (2 * step)
    np.testing.assert_allclose(floats(found.slopes[0]), slope, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", NOT_KNOWN)
def test_what_is_not_known_says_its_kind(kind):
    with pytest.raises(NotExact) as raised:
        followed(NOT_KNOWN[kind], X)
    assert raised.value.kind == kind
