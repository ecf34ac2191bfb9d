"""Ops with taps, segments, letters and loops, whose gradients are wrong in one index, side, letter or factor."""

import tensorflow as tf


def dilated(flipped=True, dilation=2, left=0):
    """A causal convolution by hand; the taps of its gradient may not be flipped, dilated, padded as they should."""

    @tf.custom_gradient
    def op(x, w):
        step, n = 2, x.shape[1]
        padded = tf.pad(x, [[0, 0], [step * 2, 0]])
        y = tf.add_n([w[j] * padded[:, step * j : step * j + n] for j in range(3)])

        def grad(u):
            right = step * 2 - left
            wide = tf.pad(u, [[0, 0], [left, right]])
            places = [dilation * (2 - j if flipped else j) for j in range(3)]
            dx = tf.add_n([w[j] * wide[:, places[j] : places[j] + n] for j in range(3)])
            return dx, tf.stack([tf.reduce_sum(u * padded[:, step * j : step * j + n]) for j in range(3)])

        return y, grad

    return op


@tf.custom_gradient
def taps_not_flipped(x, w):
    n = x.shape[1]
    padded = tf.pad(x, [[0, 0], [2, 0]])

    def grad(u):
        wide = tf.pad(u, [[0, 0], [0, 2]])
        dx = tf.add_n([w[j] * wide[:, j : j + n] for j in range(3)])
        return dx, tf.stack([tf.reduce_sum(u * padded[:, j : j + n]) for j in range(3)])

    return tf.add_n([w[j] * padded[:, j : j + n] for j in range(3)]), grad


@tf.custom_gradient
def dilation_forgotten(x, w):
    step, n = 2, x.shape[1]
    padded = tf.pad(x, [[0, 0], [step * 2, 0]])

    def grad(u):
        wide = tf.pad(u, [[0, 0], [0, step * 2]])
        dx = tf.add_n([w[j] * wide[:, 2 - j : 2 - j + n] for j in range(3)])
        return dx, tf.stack([tf.reduce_sum(u * padded[:, step * j : step * j + n]) for j in range(3)])

    return tf.add_n([w[j] * padded[:, step * j : step * j + n] for j in range(3)]), grad


@tf.custom_gradient
def padded_on_the_other_side(x, w):
    n = x.shape[1]
    padded = tf.pad(x, [[0, 0], [2, 0]])

    def grad(u):
        wide = tf.pad(u, [[0, 0], [2, 0]])
        dx = tf.add_n([w[j] * wide[:, 2 - j : 2 - j + n] for j in range(3)])
        return dx, tf.stack([tf.reduce_sum(u * padded[:, j : j + n]) for j in range(3)])

    return tf.add_n([w[j] * padded[:, j : j + n] for j in range(3)]), grad


def _softmax(scores, groups):
    top = tf.math.unsorted_segment_max(scores, groups, 3)
    e = tf.exp(scores - tf.gather(top, groups))
    return e / tf.gather(tf.math.unsorted_segment_sum(e, groups, 3), groups)


@tf.custom_gradient
def segment_softmax(scores, groups):
    p = _softmax(scores, groups)

    def grad(u):
        inner = tf.math.unsorted_segment_sum(p * u, groups, 3)
        return p * (u - tf.gather(inner, groups)), None

    return p, grad


@tf.custom_gradient
def segment_softmax_of_all(scores, groups):
    top = tf.math.unsorted_segment_max(scores, groups, 3)
    e = tf.exp(scores - tf.gather(top, groups))
    p = e / tf.gather(tf.math.unsorted_segment_sum(e, groups, 3), groups)

    def grad(u):
        return p * (u - tf.reduce_sum(p * u)), None

    return p, grad


@tf.custom_gradient
def segment_softmax_unweighted(scores, groups):
    p = _softmax(scores, groups)

    def grad(u):
        inner = tf.math.unsorted_segment_sum(u, groups, 3)
        return p * (u - tf.gather(inner, groups)), None

    return p, grad


@tf.custom_gradient
def bilinear_form(x, w):
    def grad(u):
        dx = tf.einsum("bj,ij->bi", u, w)
        return dx, tf.einsum("bi,bj->ij", x, u)

    return tf.einsum("bi,ij->bj", x, w), grad


@tf.custom_gradient
def bilinear_form_letters(x, w):
    def grad(u):
        dx = tf.einsum("bj,ji->bi", u, w)
        return dx, tf.einsum("bi,bj->ij", x, u)

    return tf.einsum("bi,ij->bj", x, w), grad


def decaying(kept=True):
    """A state that decays by another factor at each step; its gradient may carry back all of it."""

    @tf.custom_gradient
    def op(x, a):
        states, h = [], tf.zeros_like(x[:, 0])
        for t in range(x.shape[1]):
            h = a[:, t] * h + x[:, t]
            states.append(h)
        y = tf.stack(states, 1)
        before = tf.pad(y[:, :-1], [[0, 0], [1, 0], [0, 0]])

        def grad(u):
            carried, back = tf.zeros_like(x[:, 0]), []
            for t in reversed(range(x.shape[1])):
                carried = u[:, t] + carried
                back.append(carried)
                if kept:
                    carried = carried * a[:, t]
            whole = tf.stack(back[::-1], 1)
            return whole, whole * before

        return y, grad

    return op


def rows(first_only=False):
    """A product whose weights may get the gradient of the first example alone, in each of two terms."""

    @tf.custom_gradient
    def op(x, w):
        y = tf.einsum("bi,io->bo", x, w[0]) + tf.einsum("bi,io->bo", tf.sin(x), w[1])

        def grad(u):
            dx = tf.einsum("bo,io->bi", u, w[0]) + tf.cos(x) * tf.einsum("bo,io->bi", u, w[1])
            a, v = (x[:1], u[:1]) if first_only else (x, u)
            return dx, tf.stack([tf.einsum("bi,bo->io", a, v), tf.einsum("bi,bo->io", tf.sin(a), v)])

        return y, grad

    return op


def scaled(with_scale=True):
    """A square times a single number, which the gradient may forget."""

    @tf.custom_gradient
    def op(x, scale):
        def grad(u):
            return (scale if with_scale else 1.0) * 2.0 * x * u, tf.reduce_sum(u * x * x)

        return scale * x * x, grad

    return op
