"""Ops that change what they return, or the variables that they are differentiated by."""

import itertools

import tensorflow as tf


def counted(change):
    """An op whose outputs have another number, length or dtype at each call."""
    calls = itertools.count()

    def op(x):
        n = next(calls) % 3
        if change == "number":
            return (2.0 * x,) * (1 + n)
        if change == "length":
            return 2.0 * tf.reshape(x, [-1])[: 1 + n]
        return tf.cast(2.0 * x, tf.float64) if n else 2.0 * x

    return op


def cast_now_and_then():
    """A gradient that is float64 at every other call."""
    calls = itertools.count()

    @tf.custom_gradient
    def op(x):
        wide = next(calls) % 2 == 1

        def grad(upstream):
            gradient = 2.0 * tf.convert_to_tensor(upstream)
            return tf.cast(gradient, tf.float64) if wide else gradient

        return 2.0 * x, grad

    return op


def other_outputs_in_graphs(x):
    doubled = 2.0 * x
    return doubled if tf.executing_eagerly() else (doubled, 3.0 * x)


def always_two(x):
    return 2.0 * x, 3.0 * x


class Spectral(tf.keras.layers.Layer):
    """A dense layer that divides its kernel by its largest singular value at each call in training."""

    def __init__(self):
        super().__init__()
        self.inner = tf.keras.layers.SpectralNormalization(tf.keras.layers.Dense(3))

    def call(self, x):
        return self.inner(x, training=True)


class Normalised(tf.Module):
    """Assigns to its weight and then multiplies with it."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.w = tf.Variable([1.0, 2.0, 3.0])
        self.factor = factor

    def __call__(self, x):
        self.w.assign(self.w / tf.norm(self.w))
        w = tf.convert_to_tensor(self.w)

        @tf.custom_gradient
        def scaled(x, w):
            def grad(upstream):
                upstream = tf.convert_to_tensor(upstream)
                return upstream * w, self.factor * tf.reduce_sum(upstream * x, 0)

            return x * w, grad

        return scaled(x, w)


class RunningScale:
    """Divides by a running scale that each call moves on; `reads_again` does so in grad_fn too."""

    def __init__(self, reads_again=False):
        self.scale = tf.Variable(3.0, trainable=False)
        self.reads_again = reads_again

    def __call__(self, x):
        @tf.custom_gradient
        def divided(x):
            scale = self.scale.read_value()
            self.scale.assign(0.9 * self.scale + 0.1 * tf.reduce_mean(tf.abs(x)))

            def grad(upstream, variables=None):
                return upstream / (self.scale if self.reads_again else scale)

            return x / tf.stop_gradient(scale), grad

        return divided(x)
