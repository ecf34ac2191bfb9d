"""Right ops of every kind that people write, and a few wrong ones beside them."""

import tensorflow as tf


def sparse_product(s, w):
    return tf.sparse.sparse_dense_matmul(s, w)


def ragged_sums(r):
    return tf.reduce_sum(r * r, axis=1)


def ragged_double(r):
    return r * 2.0


@tf.custom_gradient
def named(p):
    w, b = p["w"], p["b"]
    return w * b, lambda upstream: {"w": upstream * b, "b": upstream * w}


@tf.custom_gradient
def named_swapped(p):
    w, b = p["w"], p["b"]
    return w * b, lambda upstream: {"w": upstream * w, "b": upstream * b}


@tf.custom_gradient
def add_all(*xs):
    return tf.add_n(xs), lambda upstream: [upstream for _ in xs]


class Module(tf.Module):
    def __init__(self):
        super().__init__()
        self.w = tf.Variable([1.0, 2.0, 3.0], name="w")

    def scale(self, x):
        return x * self.w

    @tf.custom_gradient
    def scale_wrong(self, x):
        def grad(upstream, variables=None):
            return upstream * self.w, [tf.reduce_sum(upstream * x, 0) * 2.0]

        return x * self.w, grad


@tf.recompute_grad
def recomputed(x):
    return tf.sin(x) * tf.cos(x)


def scanned(x):
    return tf.scan(lambda a, b: tf.tanh(a + b), x)


def mapped(x):
    return tf.map_fn(lambda a: tf.sin(a) * a, x)


def stacked(x):
    array = tf.TensorArray(x.dtype, size=3)
    for i in tf.range(3):
        array = array.write(i, x * tf.cast(i, x.dtype))
    return array.stack()


def with_strings(x, words, flags):
    return tf.where(flags, x * 2.0, x) + tf.cast(tf.strings.length(words), x.dtype)


@tf.custom_gradient
def with_integers(x):
    return (x * x, tf.cast(x * 10.0, tf.int32)), lambda upstream, _: 2.0 * x * upstream


@tf.function
def traced(x):
    return x * x * x


rounded = tf.grad_pass_through(tf.round)


def identity(x):
    return x
