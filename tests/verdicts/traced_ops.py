"""Ops that are, or call, a tf.function of their own."""

import nearby_ops
import tensorflow as tf


@tf.custom_gradient
def _clipped(x):
    return tf.identity(x), lambda upstream: tf.clip_by_value(upstream, -0.5, 0.5)


def clipped_vjp(x, upstream):
    return tf.clip_by_value(upstream, -0.5, 0.5)


@tf.function
def clipped(x):
    return _clipped(x)


@tf.function(jit_compile=True)
def clipped_compiled(x):
    return _clipped(x)


_inner = tf.function(_clipped)


def clipped_inside(x):
    return _inner(x)


class Clip(tf.keras.layers.Layer):
    @tf.function
    def call(self, x):
        return _clipped(x)


class ClipModule(tf.Module):
    @tf.function
    def __call__(self, x):
        return _clipped(x)


def window(factor=1.0):
    """Trace a sine whose gradient has a factor between 5 and 6."""
    return tf.function(nearby_ops.window(factor))


@tf.custom_gradient
def _mean_square(x):
    count = x.shape[0] or 1

    def grad(upstream):
        return 2 * x * upstream / tf.cast(count, x.dtype)

    return tf.reduce_sum(x * x) / tf.cast(tf.shape(x)[0], x.dtype), grad


_mean_square_traced = tf.function(_mean_square, reduce_retracing=True)


def counted_when_traced(x):
    return _mean_square_traced(x)


@tf.custom_gradient
def _mean_square_of_any_size(x):
    def grad(upstream):
        return 2 * x * upstream / tf.cast(tf.shape(x)[0], x.dtype)

    return tf.reduce_mean(x * x), grad


@tf.function(reduce_retracing=True)
def counted_when_run(x):
    return _mean_square_of_any_size(x)


class Affine(tf.Module):
    """Scale and shift inside a tf.function; grad_fn may return the variables' gradients the wrong way round."""

    def __init__(self, by_name=True):
        super().__init__()
        self.scale = tf.Variable([1.5, 0.5], name="scale")
        self.shift = tf.Variable([0.3, 0.2], name="shift")
        self.by_name = by_name

    @tf.function
    def __call__(self, x):
        @tf.custom_gradient
        def op(x):
            scale, shift = self.scale.read_value(), self.shift.read_value()

            def grad(upstream, variables=None):
                found = {"scale": tf.reduce_sum(upstream * x, 0), "shift": tf.reduce_sum(upstream, 0)}
                order = [v.name.split(":")[0] for v in variables] if self.by_name else ["scale", "shift"]
                return upstream * scale, [found[name] for name in order]

            return x * scale + shift, grad

        return op(x)
