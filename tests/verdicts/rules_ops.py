"""Gradients in which the rule of one op is wrong, and right twins."""

from __future__ import annotations

import tensorflow as tf


@tf.custom_gradient
def relu_forgotten(x, w):
    y = tf.nn.relu(x @ w)

    def g(u):
        u = u * tf.cos(y)
        return u @ tf.transpose(w), tf.transpose(x) @ u

    return tf.sin(y), g


@tf.custom_gradient
def not_transposed(x, w):
    y = tf.tanh(x @ w)

    def g(u):
        u = u * (1 - y * y)
        return u @ w, tf.transpose(x) @ u

    return y, g


@tf.custom_gradient
def softmax_unsummed(x):
    p = tf.nn.softmax(tf.sin(x))
    return p * p, lambda u: (u * 2 * p * p) * tf.cos(x)


@tf.custom_gradient
def inner_left_out(x):
    return tf.exp(tf.sin(3.0 * x * x)), lambda u: u * tf.exp(tf.sin(3.0 * x * x)) * 6.0 * x


@tf.custom_gradient
def tanh_prime_wrong(x, b):
    y = tf.tanh(x * x + b)

    def g(u):
        d = u * (1 - y)
        return 2 * x * d, tf.reduce_sum(d, 0)

    return y, g


@tf.custom_gradient
def eps_factor(x):
    m = tf.reduce_mean(x, -1, keepdims=True)
    c = x - m
    v = tf.reduce_mean(c * c, -1, keepdims=True)
    r = tf.math.rsqrt(v + 1e-3)
    y = c * r

    def g(u):
        gc = u * r
        gv = tf.reduce_sum(u * c, -1, keepdims=True) * -0.5 * r**3
        return gc + gv * 2 * c / 4.0

    return y, g


@tf.custom_gradient
def var_forgotten(x):
    m = tf.reduce_mean(x, -1, keepdims=True)
    c = x - m
    v = tf.reduce_mean(c * c, -1, keepdims=True)
    r = tf.math.rsqrt(v + 1e-3)

    def g(u):
        gc = u * r
        return gc - tf.reduce_mean(gc, -1, keepdims=True)

    return c * r, g


@tf.custom_gradient
def gate_sign(x, w):
    s = tf.sigmoid(x)
    y = s * w + (1 - s) * tf.sin(x)

    def g(u):
        ds = u * (w + tf.sin(x))
        return ds * s * (1 - s) + u * (1 - s) * tf.cos(x), u * s

    return y, g


@tf.custom_gradient
def scale_twice(x, w):
    y = tf.exp(x) * w
    z = tf.sin(y) + x

    def g(u):
        gy = u * tf.cos(y) * 2.0
        return gy * y + u, u * tf.cos(y) * tf.exp(x)

    return z, g


@tf.custom_gradient
def attention(q, k, v):
    s = tf.matmul(q, k, transpose_b=True) / 2.0
    p = tf.nn.softmax(s)
    y = p @ v

    def g(u):
        gp = tf.matmul(u, v, transpose_b=True)
        gs = gp * p * (1 - p) / 2.0
        return gs @ k, tf.matmul(gs, q, transpose_a=True), tf.matmul(p, u, transpose_a=True)

    return y, g


@tf.custom_gradient
def clip_mask(x):
    c = tf.clip_by_value(x, -0.5, 0.5)
    return c * c * x, lambda u: u * (2 * c * x + c * c)


@tf.custom_gradient
def where_inverted(x):
    m = x > 0
    y = tf.where(m, tf.sin(x), x * x)
    return tf.exp(y), lambda u: u * tf.exp(y) * tf.where(m, 2 * x, tf.cos(x))


@tf.custom_gradient
def cumsum_not_reversed(x):
    c = tf.cumsum(x, axis=-1)
    return tf.sin(c), lambda u: tf.cumsum(u * tf.cos(c), axis=-1)


@tf.custom_gradient
def square_wrong(x):
    return tf.reduce_sum(tf.square(tf.sin(x)), -1), lambda u: u[:, None] * tf.sin(x) * tf.cos(x) ** 2


@tf.custom_gradient
def gelu_like(x):
    c = 0.8 * (x + 0.05 * x**3)
    t = tf.tanh(c)
    return 0.5 * x * (1 + t), lambda u: u * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * 0.8)


@tf.custom_gradient
def quotient(x, y):
    return tf.sin(x) / (1 + y * y), lambda u: (u * tf.cos(x) / (1 + y * y), -u * tf.sin(x) * 2 * y / (1 + y * y))


@tf.custom_gradient
def normalised(x):
    n = tf.norm(x, axis=-1, keepdims=True)
    y = x / n
    return tf.sin(y), lambda u: u * tf.cos(y) / n


@tf.custom_gradient
def log_softmax_wrong(x):
    y = tf.nn.log_softmax(x)
    return tf.exp(y) * 2.0 + y, lambda u: u * (2 * tf.exp(y) + 1)


@tf.custom_gradient
def swish_in(x, b):
    s = tf.sigmoid(b * x)
    return x * s, lambda u: (u * (s + x * s * (1 - s)), tf.reduce_sum(u * x * x * s * (1 - s)))


@tf.custom_gradient
def relu_kept(x, w):
    z = x @ w
    y = tf.nn.relu(z)

    def g(u):
        u = u * tf.cos(y) * tf.cast(z > 0, u.dtype)
        return u @ tf.transpose(w), tf.transpose(x) @ u

    return tf.sin(y), g


@tf.custom_gradient
def transposed(x, w):
    y = tf.tanh(x @ w)

    def g(u):
        u = u * (1 - y * y)
        return u @ tf.transpose(w), tf.transpose(x) @ u

    return y, g


@tf.custom_gradient
def softmax_summed(x):
    p = tf.nn.softmax(tf.sin(x))

    def g(u):
        d = u * 2 * p
        return p * (d - tf.reduce_sum(d * p, -1, keepdims=True)) * tf.cos(x)

    return p * p, g


@tf.custom_gradient
def inner_kept(x):
    s = 3.0 * x * x
    y = tf.exp(tf.sin(s))
    return y, lambda u: u * y * tf.cos(s) * 6.0 * x


@tf.custom_gradient
def gate(x, w):
    s = tf.sigmoid(x)

    def g(u):
        return u * (w - tf.sin(x)) * s * (1 - s) + u * (1 - s) * tf.cos(x), u * s

    return s * w + (1 - s) * tf.sin(x), g


@tf.custom_gradient
def attention_right(q, k, v):
    p = tf.nn.softmax(tf.matmul(q, k, transpose_b=True) / 2.0)

    def g(u):
        d = tf.matmul(u, v, transpose_b=True)
        d = p * (d - tf.reduce_sum(d * p, -1, keepdims=True)) / 2.0
        return d @ k, tf.matmul(d, q, transpose_a=True), tf.matmul(p, u, transpose_a=True)

    return p @ v, g


@tf.custom_gradient
def where_right(x):
    m = x > 0
    y = tf.exp(tf.where(m, tf.sin(x), x * x))
    return y, lambda u: u * y * tf.where(m, tf.cos(x), 2 * x)


@tf.custom_gradient
def cumsum_reversed(x):
    c = tf.cumsum(x, axis=-1)
    return tf.sin(c), lambda u: tf.cumsum(u * tf.cos(c), axis=-1, reverse=True)


@tf.custom_gradient
def rounded_through(x):
    """A number rounded, whose rule is that of the identity."""
    return tf.round(x), lambda upstream: upstream


def times_rounded(x):
    return rounded_through(x) * x


@tf.custom_gradient
def spike(v):
    """A step with a triangle in the place of its slope."""

    def grad(upstream):
        return upstream * tf.maximum(1.0 - tf.abs(v), 0.0)

    return tf.cast(v > 0, v.dtype), grad


def spiking_step(v, i):
    """A step of a neuron: its spikes, and its voltage after them."""
    v = 0.9 * v + i
    z = spike(v - 0.5)
    return z, v - 0.5 * z


@tf.custom_gradient
def halved_sine(x):
    """A sine with half of its slope."""
    return tf.sin(x), lambda upstream: 0.5 * upstream * tf.cos(x)


def times_halved_sine(x):
    return halved_sine(x) * tf.cast(x > -10.0, x.dtype)


def gated_pair(seen="gate"):
    """A gate times a value; the rule takes the sigmoid's slope from what `seen` names."""

    @tf.custom_gradient
    def op(x, w, v):
        before, value = tf.matmul(x, w), tf.matmul(x, v)
        gate = tf.sigmoid(before)
        known = {"gate": gate, "before": before, "value": value}[seen]

        def grad(upstream):
            upstream = tf.convert_to_tensor(upstream)
            back = upstream * value * known * (1 - known)
            along = upstream * gate
            by_x = tf.matmul(back, w, transpose_b=True) + tf.matmul(along, v, transpose_b=True)
            return by_x, tf.matmul(x, back, transpose_a=True), tf.matmul(x, along, transpose_a=True)

        return gate * value, grad

    return op


def two_layers(seen="hidden"):
    """Two layers; the weights of the second meet what `seen` names."""

    @tf.custom_gradient
    def op(x, w, v):
        hidden = tf.tanh(tf.matmul(x, w))
        known = {"hidden": hidden, "shifted": tf.roll(hidden, 1, 0), "averaged": 0 * hidden + tf.reduce_mean(hidden, 0)}
        known = known[seen]

        def grad(upstream):
            upstream = tf.convert_to_tensor(upstream)
            inner = tf.matmul(upstream, v, transpose_b=True) * (1 - hidden * hidden)
            by_x, by_w = tf.matmul(inner, w, transpose_b=True), tf.matmul(x, inner, transpose_a=True)
            return by_x, by_w, tf.matmul(known, upstream, transpose_a=True)

        return tf.matmul(hidden, v), grad

    return op


def light_gru(wrong=""):
    """Steps of a light gated recurrence, unrolled; `wrong` names what every step of the rule gets wrong."""

    @tf.custom_gradient
    def op(x, w, u, v):
        states, gates, candidates = [tf.zeros_like(x[:, 0])], [], []
        for t in range(4):
            gates.append(tf.sigmoid(tf.matmul(x[:, t], w)))
            inner = gates[t] * states[t]
            candidates.append(tf.nn.relu(tf.matmul(x[:, t], v) + tf.matmul(inner, u)))
            states.append(gates[t] * states[t] + (1 - gates[t]) * candidates[t])

        def grad(upstream):
            back = tf.convert_to_tensor(upstream)
            by_w, by_u, by_v, by_x = tf.zeros_like(w), tf.zeros_like(u), tf.zeros_like(v), []
            for t in reversed(range(4)):
                z, h = gates[t], states[t]
                dc = back * (1 - z) * (1.0 if wrong == "mask" else tf.cast(candidates[t] > 0, x.dtype))
                inner = tf.matmul(dc, u, transpose_b=wrong != "turned")
                through = 0.0 if wrong == "stopped" else inner
                dz = (back * (h - candidates[t]) + through * h) * z * (1 - z)
                by_w += tf.matmul(x[:, t], dz, transpose_a=True)
                by_v += tf.matmul(x[:, t], dc, transpose_a=True)
                by_u += tf.matmul(z * h, dc, transpose_a=True)
                by_x.insert(0, tf.matmul(dz, w, transpose_b=True) + tf.matmul(dc, v, transpose_b=True))
                back = back * z + inner * z
            return tf.stack(by_x, 1), by_w, by_u, by_v

        return states[-1], grad

    return op


def clipped_sign(x, bound=1.0):
    """A sign whose gradient passes between two bounds: its rule is a closure, which AutoGraph rewrites in a graph."""

    @tf.custom_gradient
    def step(x):
        return tf.sign(x), lambda u: tf.where(tf.abs(x) <= bound, u, tf.zeros_like(u))

    return step(x)


def scaled_sign(x):
    return tf.reduce_mean(tf.abs(x), axis=0) * clipped_sign(x)


def scaled_sign_held(x):
    return tf.stop_gradient(tf.reduce_mean(tf.abs(x), axis=0)) * clipped_sign(x)


def hard_clip(x):
    return tf.clip_by_value(x, -1.0, 1.0)
