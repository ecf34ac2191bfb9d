"""Ops with right gradients, and the mistakes that are planted in them.

`build: {op: softmax, mistake: sign}` gives the op with that mistake; without one it is right.
"""

import functools

import numpy as np
import tensorflow as tf


def total(g, axis):
    return tf.reduce_sum(g, axis, keepdims=True)


def elementwise(f, slope):
    return (lambda x: f(x)), lambda u, x: (u * slope(x),)


def _gelu(x):
    return 0.5 * x * (1.0 + tf.tanh(0.75 * (x + 0.05 * x**3)))


def _gelu_slope(x):
    t = tf.tanh(0.75 * (x + 0.05 * x**3))
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * 0.75 * (1.0 + 0.15 * x * x)


def _softmax_vjp(u, x):
    y = tf.nn.softmax(x)
    return (y * (u - total(u * y, -1)),)


def _normalize(x):
    return x / tf.sqrt(total(x * x, -1))


def _normalize_vjp(u, x):
    size = tf.sqrt(total(x * x, -1))
    y = x / size
    return ((u - y * total(u * y, -1)) / size,)


def _layer_norm(x):
    d = x - tf.reduce_mean(x, -1, keepdims=True)
    return d / tf.sqrt(tf.reduce_mean(d * d, -1, keepdims=True) + 1e-3)


def _layer_norm_vjp(u, x):
    d = x - tf.reduce_mean(x, -1, keepdims=True)
    s = tf.sqrt(tf.reduce_mean(d * d, -1, keepdims=True) + 1e-3)
    y = d / s
    mean = tf.reduce_mean(u, -1, keepdims=True)
    return ((u - mean - y * tf.reduce_mean(u * y, -1, keepdims=True)) / s,)


def _cosine(a, b):
    return tf.reduce_sum(a * b, -1) / tf.sqrt(tf.reduce_sum(a * a, -1) * tf.reduce_sum(b * b, -1))


def _cosine_vjp(u, a, b):
    u = u[..., None]
    aa, bb, ab = total(a * a, -1), total(b * b, -1), total(a * b, -1)
    s = tf.sqrt(aa * bb)
    return u * (b / s - a * ab / (s * aa)), u * (a / s - b * ab / (s * bb))


def _gather_vjp(u, x):
    return (tf.math.unsorted_segment_sum(u, [2, 0, 2], 4),)


def _huber(x):
    return tf.where(tf.abs(x) > 1.0, tf.abs(x) - 0.5, 0.5 * x * x)


def _attention(q, k):
    return tf.nn.softmax(tf.matmul(q, k, transpose_b=True))


def _attention_vjp(u, q, k):
    (ds,) = _softmax_vjp(u, tf.matmul(q, k, transpose_b=True))
    return tf.matmul(ds, k), tf.matmul(ds, q, transpose_a=True)


OPS = {
    "square": elementwise(lambda x: x * x, lambda x: 2.0 * x),
    "cube": elementwise(lambda x: x**3, lambda x: 3.0 * x * x),
    "sin": elementwise(tf.sin, tf.cos),
    "exp": elementwise(tf.exp, tf.exp),
    "tanh": elementwise(tf.tanh, lambda x: 1.0 - tf.tanh(x) ** 2),
    "sigmoid": elementwise(tf.sigmoid, lambda x: tf.sigmoid(x) * tf.sigmoid(-x)),
    "softplus": elementwise(tf.nn.softplus, tf.sigmoid),
    "swish": elementwise(lambda x: x * tf.sigmoid(x), lambda x: tf.sigmoid(x) * (1.0 + x * tf.sigmoid(-x))),
    "gelu": elementwise(_gelu, _gelu_slope),
    "atan": elementwise(tf.atan, lambda x: 1.0 / (1.0 + x * x)),
    "huber": elementwise(_huber, lambda x: tf.clip_by_value(x, -1.0, 1.0)),
    "relu": elementwise(tf.nn.relu, lambda x: tf.cast(x > 0.0, x.dtype)),
    "lorentz": elementwise(lambda x: x / (1.0 + x * x), lambda x: (1.0 - x * x) / (1.0 + x * x) ** 2),
    "softmax": (lambda x: tf.nn.softmax(x), _softmax_vjp),
    "log_softmax": (lambda x: tf.nn.log_softmax(x), lambda u, x: (u - tf.nn.softmax(x) * total(u, -1),)),
    "logsumexp": (lambda x: tf.reduce_logsumexp(x, -1), lambda u, x: (u[..., None] * tf.nn.softmax(x),)),
    "normalize": (lambda x: _normalize(x), _normalize_vjp),
    "layer_norm": (lambda x: _layer_norm(x), _layer_norm_vjp),
    "norm": (lambda x: tf.sqrt(tf.reduce_sum(x * x)), lambda u, x: (u * x / tf.sqrt(tf.reduce_sum(x * x)),)),
    "mean_square": (lambda x: tf.reduce_mean(x * x), lambda u, x: (u * 2.0 * x / tf.cast(tf.size(x), x.dtype),)),
    "row_sum": (lambda x: tf.reduce_sum(x * x, 1), lambda u, x: (u[:, None] * 2.0 * x,)),
    "cumsum": (lambda x: tf.cumsum(x * x, 1), lambda u, x: (tf.cumsum(u, 1, reverse=True) * 2.0 * x,)),
    "gather": (lambda x: tf.gather(x, [2, 0, 2]), _gather_vjp),
    "matmul": (
        lambda a, b: tf.matmul(a, b),
        lambda u, a, b: (tf.matmul(u, b, transpose_b=True), tf.matmul(a, u, transpose_a=True)),
    ),
    "outer": (
        lambda a, b: a[:, None] * b[None, :],
        lambda u, a, b: (tf.linalg.matvec(u, b), tf.linalg.matvec(u, a, transpose_a=True)),
    ),
    "product": (lambda a, b: a * b, lambda u, a, b: (u * b, u * a)),
    "divide": (lambda a, b: a / b, lambda u, a, b: (u / b, -u * a / (b * b))),
    "atan2": (lambda a, b: tf.atan2(a, b), lambda u, a, b: (u * b / (a * a + b * b), -u * a / (a * a + b * b))),
    "bias": (lambda a, b: a + b, lambda u, a, b: (u, tf.reduce_sum(u, 0))),
    "cosine": (lambda a, b: _cosine(a, b), _cosine_vjp),
    "attention": (lambda a, b: _attention(a, b), _attention_vjp),
}


def _each(change):
    return lambda vjp, u, inputs: tuple(change(g, x) for g, x in zip(vjp(u, *inputs), inputs, strict=True))


def _first(change):
    def mistake(vjp, u, inputs):
        gradients = vjp(u, *inputs)
        return (change(gradients[0], inputs[0]), *gradients[1:])

    return mistake


def _first_entry(g, x):
    flat = tf.reshape(g, [-1])
    return tf.reshape(tf.concat([3.0 * flat[:1], flat[1:]], 0), tf.shape(g))


def _swap(vjp, u, inputs):
    first, second = vjp(u, *inputs)
    return second, first


def _count(vjp, u, inputs):
    return vjp(u, *inputs)[:-1]


MISTAKES = {
    "none": lambda vjp, u, inputs: vjp(u, *inputs),
    "sign": _each(lambda g, x: -g),
    "factor": _each(lambda g, x: 1.5 * g),
    "thousandth": _each(lambda g, x: 1.001 * g),
    "zero": _each(lambda g, x: tf.zeros_like(g)),
    "ignore": lambda vjp, u, inputs: vjp(tf.ones_like(u), *inputs),
    "squared": lambda vjp, u, inputs: vjp(u * u, *inputs),
    "clipped": lambda vjp, u, inputs: vjp(tf.clip_by_value(u, -1.0, 1.0), *inputs),
    "missing": _first(lambda g, x: None),
    "dtype": _first(lambda g, x: tf.cast(g, tf.float64 if g.dtype == tf.float32 else tf.float32)),
    "scalar": _first(lambda g, x: tf.reduce_sum(g)),
    "entry": _first(_first_entry),
    "below": _first(lambda g, x: tf.where(x < 0.0, (1.5 + 0.25 * tf.sin(x)) * g, g)),
    "far": _first(lambda g, x: tf.where(tf.abs(x) > 5.0, 0.25 * g, g)),
    "overflow": _first(lambda g, x: g * tf.exp(x) / tf.exp(x)),
    "random": _each(lambda g, x: g * (1.0 + 0.01 * float(np.random.normal()))),
    "mode": _each(lambda g, x: g * (1.0 if tf.executing_eagerly() else 2.0)),
    "numpy": _each(lambda g, x: tf.constant(g.numpy())),
    "swapped": _swap,
    "short": _count,
    "stopped": lambda vjp, u, inputs: vjp(u, *(tf.stop_gradient(x) for x in inputs)),
}


def build(op, mistake="none"):
    """Return the op under tf.custom_gradient, with a mistake planted in its gradient."""
    forward, vjp = OPS[op]

    @functools.wraps(forward)
    def function(*inputs):
        def grad(upstream):
            gradients = MISTAKES[mistake](vjp, tf.convert_to_tensor(upstream), inputs)
            return gradients if len(gradients) > 1 else gradients[0]

        return forward(*inputs), grad

    return tf.custom_gradient(function)
