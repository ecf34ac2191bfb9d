"""Functions with a high-precision derivative: written once, run on TensorFlow and on mpmath.

Every function takes a backend `m` and a vector x (last axis) and returns a vector.  Samplers
cover ordinary points, steep and flat places, tiny and huge scales, cancellation, and the
neighbourhood of poles, edges and kinks.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import mpmath
import numpy as np
import tensorflow as tf

mpmath.mp.dps = 90
Sampler = Callable[[np.random.Generator], np.ndarray]


def _each(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return np.frompyfunc(f, 1, 1)


def _mp_number(value: Any) -> Any:
    return np.frompyfunc(lambda v: mpmath.mpf(float(v)), 1, 1)(value)


MP = SimpleNamespace(
    exp=_each(mpmath.exp), log=_each(mpmath.log), sin=_each(mpmath.sin), cos=_each(mpmath.cos), tan=_each(mpmath.tan),
    tanh=_each(mpmath.tanh), sqrt=_each(mpmath.sqrt), atan=_each(mpmath.atan), asin=_each(mpmath.asin),
    acosh=_each(mpmath.acosh), erf=_each(mpmath.erf), erfc=_each(mpmath.erfc), lgamma=_each(mpmath.loggamma),
    digamma=_each(mpmath.digamma), log1p=_each(lambda v: mpmath.log(1 + v)), expm1=_each(lambda v: mpmath.exp(v) - 1),
    sigmoid=_each(lambda v: 1 / (1 + mpmath.exp(-v))), softplus=_each(lambda v: mpmath.log(1 + mpmath.exp(v))),
    abs=_each(abs), relu=_each(lambda v: v if v > 0 else mpmath.mpf(0)),
    atan2=np.frompyfunc(mpmath.atan2, 2, 1), pow=np.frompyfunc(mpmath.power, 2, 1), number=_mp_number,
    sum=lambda x: np.sum(x, -1, keepdims=True), cumsum=lambda x: np.cumsum(x, -1), cumprod=lambda x: np.cumprod(x, -1),
    max=lambda x: np.max(x, -1, keepdims=True),
    sort=lambda x: np.sort(x, -1), matvec=lambda a, x: x @ _mp_number(a).T,
    gather=lambda x, index: x[..., index], concat=lambda parts: np.concatenate(parts, -1),
    where=lambda c, a, b: np.where(c, a, b),
)  # fmt: skip
TF = SimpleNamespace(
    exp=tf.exp, log=tf.math.log, sin=tf.sin, cos=tf.cos, tan=tf.tan, tanh=tf.tanh, sqrt=tf.sqrt, atan=tf.atan,
    asin=tf.asin, acosh=tf.acosh, erf=tf.math.erf, erfc=tf.math.erfc, lgamma=tf.math.lgamma, digamma=tf.math.digamma,
    log1p=tf.math.log1p, expm1=tf.math.expm1, sigmoid=tf.sigmoid, softplus=tf.nn.softplus, abs=tf.abs, relu=tf.nn.relu,
    atan2=tf.atan2, pow=tf.pow, number=lambda v: tf.constant(v, tf.float64), sum=lambda x: tf.reduce_sum(x, -1, True),
    cumsum=lambda x: tf.cumsum(x, -1), cumprod=lambda x: tf.math.cumprod(x, -1),
    max=lambda x: tf.reduce_max(x, -1, True),
    sort=lambda x: tf.sort(x, -1), matvec=lambda a, x: tf.matmul(x, tf.constant(a, tf.float64), transpose_b=True),
    gather=lambda x, index: tf.gather(x, index, axis=-1), concat=lambda parts: tf.concat(parts, -1), where=tf.where,
)  # fmt: skip

MATRIX = np.random.default_rng(11).normal(size=(5, 5)).round(3)


def normal(size: int = 4, scale: float = 1.0, mean: float = 0.0) -> Sampler:
    return lambda rng: mean + scale * rng.normal(size=size)


def uniform(low: float, high: float, size: int = 4) -> Sampler:
    return lambda rng: rng.uniform(low, high, size)


def decades(low: float, high: float, size: int = 4, signed: bool = False) -> Sampler:
    def draw(rng: np.random.Generator) -> np.ndarray:
        values = 10 ** rng.uniform(low, high, size)
        return values * rng.choice([-1, 1], size) if signed else values

    return draw


def near(place: float, low: float, high: float, side: float = 0.0) -> Sampler:
    """Draw points at a distance of 10**low to 10**high from a place, on one side or both."""
    return lambda rng: place + 10 ** rng.uniform(low, high, 4) * (rng.choice([-1, 1], 4) if side == 0 else side)


def spread(size: int = 8) -> Sampler:
    """Draw distinct numbers in random order, far from ties."""
    return lambda rng: rng.permutation(size) + rng.uniform(-0.3, 0.3, size)


def _softmax(m: Any, x: Any) -> Any:
    e = m.exp(x - m.max(x))
    return e / m.sum(e)


def _logsumexp(m: Any, x: Any) -> Any:
    top = m.max(x)
    return m.log(m.sum(m.exp(x - top))) + top


def _layer_norm(m: Any, x: Any) -> Any:
    d = x - m.sum(x) / x.shape[-1]
    return d / m.sqrt(m.sum(d * d) / x.shape[-1] + m.number(1e-5))


def _variance(m: Any, x: Any) -> Any:
    mean = m.sum(x) / x.shape[-1]
    return m.sum(x * x) / x.shape[-1] - mean * mean


def _iterate(m: Any, x: Any) -> Any:
    for _ in range(8):
        x = m.number(3.9) * x * (m.number(1.0) - x)
    return x


def _det3(m: Any, x: Any) -> Any:
    a, b, c, d, e, f, g, h, i = (x[..., k : k + 1] for k in range(9))
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def _inverse2(m: Any, x: Any) -> Any:
    a, b, c, d = (x[..., k : k + 1] for k in range(4))
    return m.concat([d, -b, -c, a]) / (a * d - b * c)


def _cosine(m: Any, x: Any) -> Any:
    a, b = x[..., :4], x[..., 4:]
    return m.sum(a * b) / m.sqrt(m.sum(a * a) * m.sum(b * b))


def _scaled(factor: float, inner: float = 1.0) -> Callable[[Any, Any], Any]:
    return lambda m, x: m.number(factor) * m.sin(m.number(inner) * x)


FUNCTIONS: dict[str, tuple[Callable[[Any, Any], Any], list[Sampler]]] = {
    "cubic": (lambda m, x: x * x * x - 2 * x + 1, [normal(), uniform(-30, 30)]),
    "degree 7": (lambda m, x: x**7 - 3 * x**5 + x, [uniform(-2, 2)]),
    "power 10": (lambda m, x: x**10, [uniform(0.5, 2)]),
    "exp": (lambda m, x: m.exp(x), [normal(), uniform(-20, 9)]),
    "gauss": (lambda m, x: m.exp(-x * x), [normal(), uniform(3, 6)]),
    "log": (lambda m, x: m.log(x), [uniform(0.5, 2), decades(-7, 4)]),
    "log of 1 plus": (lambda m, x: m.log(1 + x), [decades(-4, -1)]),
    "log1p": (lambda m, x: m.log1p(x), [decades(-6, 1)]),
    "exp minus 1": (lambda m, x: m.exp(x) - 1, [decades(-4, -1, signed=True)]),
    "expm1": (lambda m, x: m.expm1(x), [decades(-6, 1, signed=True)]),
    "sin": (lambda m, x: m.sin(x), [normal(), uniform(-30, 30)]),
    "sin 1e2": (_scaled(1.0, 1e2), [normal()]),
    "sin 1e4": (_scaled(1.0, 1e4), [normal()]),
    "sin 1e6": (_scaled(1.0, 1e6), [normal()]),
    "cos near 0": (lambda m, x: m.cos(x), [decades(-8, -3)]),
    "tan near its pole": (lambda m, x: m.tan(x), [near(np.pi / 2, -3, -1, -1.0)]),
    "tanh": (lambda m, x: m.tanh(x), [normal(), uniform(-9, 9)]),
    "sigmoid": (lambda m, x: m.sigmoid(x), [normal(), uniform(-30, 30)]),
    "softplus": (lambda m, x: m.softplus(x), [normal(), uniform(-20, 20)]),
    "sharp softplus": (lambda m, x: m.softplus(1000 * x) / 1000, [uniform(-0.01, 0.01), normal(4, 0.05)]),
    "x log x": (lambda m, x: x * m.log(x), [decades(-8, -1)]),
    "entropy": (lambda m, x: -m.sum(x * m.log(x)), [lambda rng: rng.dirichlet(np.ones(5))]),
    "sqrt": (lambda m, x: m.sqrt(x), [decades(-8, -1), uniform(0.5, 9)]),
    "rsqrt": (lambda m, x: 1 / m.sqrt(x), [decades(-4, 3)]),
    "reciprocal": (lambda m, x: 1 / x, [decades(-5, 3, signed=True)]),
    "lorentz": (lambda m, x: x / (1 + x * x), [normal(), uniform(-30, 30)]),
    "output 1e8": (_scaled(1e8), [normal()]),
    "output 1e-8": (_scaled(1e-8), [normal()]),
    "input 1e8": (_scaled(1.0, 1e-8), [normal(4, 1e8)]),
    "input 1e-8": (_scaled(1.0, 1e8), [normal(4, 1e-8)]),
    "offset 1e4": (lambda m, x: 1e4 + m.sin(x), [normal()]),
    "offset 1e8": (lambda m, x: 1e8 + m.sin(x), [normal()]),
    "cancelling": (lambda m, x: (1e5 + m.sin(x)) - 1e5, [normal()]),
    "shifted square": (lambda m, x: (x - 1e4) * (x - 1e4), [normal(mean=1e4)]),
    "atan": (lambda m, x: m.atan(x), [normal(), uniform(-50, 50)]),
    "asin near 1": (lambda m, x: m.asin(x), [near(1.0, -4, -1, -1.0)]),
    "acosh near 1": (lambda m, x: m.acosh(x), [near(1.0, -4, 0, 1.0)]),
    "erf": (lambda m, x: m.erf(x), [normal(), uniform(-4, 4)]),
    "tail of erfc": (lambda m, x: m.erfc(x), [uniform(1, 5)]),
    "lgamma": (lambda m, x: m.lgamma(x), [uniform(0.1, 10), decades(-3, 2)]),
    "digamma": (lambda m, x: m.digamma(x), [uniform(0.2, 10)]),
    "power x y": (lambda m, x: m.pow(x[..., :3], x[..., 3:]), [uniform(0.3, 4, 6)]),
    "power 2.5": (lambda m, x: x * x * m.sqrt(x), [decades(-3, 1)]),
    "atan2": (lambda m, x: m.atan2(x[..., :3], x[..., 3:]), [normal(6)]),
    "division": (
        lambda m, x: x[..., :3] / x[..., 3:],
        [lambda rng: np.r_[rng.normal(size=3), 10 ** rng.uniform(-4, -1, 3)]],
    ),
    "matrix": (lambda m, x: m.matvec(MATRIX, x), [normal(5)]),
    "quadratic form": (lambda m, x: m.sum(m.matvec(MATRIX, x) * x), [normal(5), normal(5, 100.0)]),
    "softmax": (_softmax, [normal(6), normal(6, 8.0)]),
    "log softmax": (lambda m, x: x - _logsumexp(m, x), [normal(6), normal(6, 8.0)]),
    "naive logsumexp": (lambda m, x: m.log(m.sum(m.exp(x))), [uniform(-3, 3, 6), normal(6, mean=20.0)]),
    "logsumexp": (_logsumexp, [normal(6), normal(6, mean=1e3)]),
    "norm": (lambda m, x: m.sqrt(m.sum(x * x)), [normal(6), normal(6, 1e3), normal(6, 1e-3)]),
    "normalise": (lambda m, x: x / m.sqrt(m.sum(x * x)), [normal(6), normal(6, 0.01)]),
    "layer norm": (_layer_norm, [normal(6), normal(6, mean=10.0)]),
    "variance": (_variance, [normal(6), normal(6, mean=100.0)]),
    "cumsum": (lambda m, x: m.cumsum(x * x), [normal(8)]),
    "cumprod": (lambda m, x: m.cumprod(x), [uniform(0.5, 1.5, 8)]),
    "sort": (lambda m, x: m.sort(x) * m.sort(x), [spread()]),
    "gather twice": (lambda m, x: m.sin(m.gather(x, [0, 0, 3, 2, 0, 4])), [normal(5)]),
    "max": (lambda m, x: m.max(x) * m.max(x), [spread(6)]),
    "relu and square": (lambda m, x: m.relu(x) * 1.5 + x * x * 0.1, [decades(-4, 1, signed=True)]),
    "abs and sin": (lambda m, x: m.abs(x) + m.sin(x), [decades(-4, 1, signed=True)]),
    "huber": (lambda m, x: m.where(m.abs(x) > 1, m.abs(x) - 0.5, 0.5 * x * x), [uniform(0.2, 2), uniform(-2, -0.2)]),
    "det 3": (_det3, [normal(9)]),
    "inverse 2": (_inverse2, [lambda rng: np.array([2.0, 0, 0, 2.0]) + 0.5 * rng.normal(size=4)]),
    "swish": (lambda m, x: x * m.sigmoid(x), [normal(), uniform(-15, 15)]),
    "gelu": (
        lambda m, x: 0.5 * x * (1 + m.tanh(0.7978845608 * (x + 0.044715 * x * x * x))),
        [normal(), uniform(-6, 6)],
    ),
    "cosine similarity": (_cosine, [normal(8)]),
    "cross entropy": (lambda m, x: _logsumexp(m, x) - x[..., 2:3], [normal(6), normal(6, 5.0)]),
    "logistic map": (_iterate, [uniform(0.1, 0.9, 3)]),
    "pole": (lambda m, x: 1 / (x - 1), [near(1.0, -3, 0)]),
    "mean square": (lambda m, x: m.sum(x * x) / 8, [normal(8)]),
    "exp ratio": (lambda m, x: m.exp(x) / (1 + m.exp(x) * m.exp(x)), [normal(), uniform(-8, 8)]),
    "wiggle": (lambda m, x: x + m.sin(300 * x) / 1000, [normal()]),
    "product": (lambda m, x: x[..., :3] * x[..., 3:], [normal(6)]),
    "difference of squares": (lambda m, x: x[..., :3] ** 2 - x[..., 3:] ** 2, [normal(6)]),
}  # fmt: skip


def derivative(name: str, x: np.ndarray, cotangent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return v.df/dx_i and sum |v_j||df_j/dx_i| for each i, by differences in 90 digits."""
    f = FUNCTIONS[name][0]
    exact = np.array([mpmath.mpf(float(value)) for value in x], dtype=object)
    total, size = np.zeros(x.size), np.zeros(x.size)
    for i in range(x.size):
        step = mpmath.mpf(10) ** -30 * max(abs(exact[i]), mpmath.mpf(10) ** -6)
        up, down = exact.copy(), exact.copy()
        up[i] += step
        down[i] -= step
        column = [mpmath.re(a - b) / (2 * step) for a, b in zip(f(MP, up), f(MP, down), strict=True)]
        total[i] = float(sum(mpmath.mpf(float(v)) * d for v, d in zip(cotangent, column, strict=True)))
        size[i] = float(sum(abs(mpmath.mpf(float(v)) * d) for v, d in zip(cotangent, column, strict=True)))
    return total, size
