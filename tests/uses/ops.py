"""Ops whose rule TensorFlow uses in some ways and not in others."""

import numpy as np
import tensorflow as tf


@tf.custom_gradient
def right(x):
    """Give what the forward gives: no use can tell whether the rule runs."""
    return tf.sin(x) * x, lambda up: tf.convert_to_tensor(up) * (tf.cos(x) * x + tf.sin(x))


@tf.custom_gradient
def doubled(x):
    """Give a wrong rule, which forward mode and vectorized_map do not use."""
    return tf.sin(x) * x, lambda up: 2.0 * tf.convert_to_tensor(up) * (tf.cos(x) * x + tf.sin(x))


@tf.custom_gradient
def reversed_gradient(x):
    """Reverse the gradient, as domain-adversarial training does."""
    return tf.identity(x), lambda up: -tf.convert_to_tensor(up)


def minus(x):
    return -x


@tf.custom_gradient
def norm(x):
    """Give zero for a row of zeros, where TensorFlow gives NaN."""
    length = tf.norm(x, axis=-1, keepdims=True)

    def grad(up):
        some = length > 0
        return tf.where(some, tf.convert_to_tensor(up) * x / tf.where(some, length, 1.0), 0.0)

    return length, grad


@tf.custom_gradient
def host(x):
    """Compute on the host, with a rule that TensorFlow cannot find by itself."""
    y = tf.numpy_function(np.sin, [x], x.dtype)
    y.set_shape(x.shape)
    return y, lambda up: tf.convert_to_tensor(up) * tf.cos(x)


@tf.custom_gradient
def rule_on_the_host(x):
    """Compute the rule on the host."""

    def grad(up):
        return tf.numpy_function(lambda u, v: u * np.cos(v), [up, x], x.dtype)

    return tf.sin(x), grad


@tf.custom_gradient
def total(x):
    return tf.reduce_sum(x * x), lambda up: tf.convert_to_tensor(up) * 2.0 * x


@tf.custom_gradient
def product(x, y):
    return x * y, lambda up: (tf.convert_to_tensor(up) * y, tf.convert_to_tensor(up) * x)


@tf.custom_gradient
def clipped(x):
    """Clip the gradient."""
    return x * x, lambda up: tf.clip_by_value(tf.convert_to_tensor(up) * 2.0 * x, -0.1, 0.1)


def clipped_vjp(x, upstream):
    return tf.clip_by_value(upstream * 2.0 * x, -0.1, 0.1)


def plain(x):
    return tf.sin(x) * tf.reduce_sum(x)


@tf.custom_gradient
def eager_only(x):
    return tf.constant(x.numpy() ** 2), lambda up: tf.convert_to_tensor(up) * 2.0 * x


class Scaled(tf.Module):
    """Scale by a variable, with a rule for both."""

    def __init__(self):
        super().__init__()
        self.scale = tf.Variable(2.0, name="scale")

    def __call__(self, x):
        @tf.custom_gradient
        def op(x, scale):
            def grad(up):
                up = tf.convert_to_tensor(up)
                return up * scale, tf.reduce_sum(up * x)

            return x * scale, grad

        return op(x, tf.convert_to_tensor(self.scale))


class Dense(tf.keras.layers.Layer):
    """Multiply by a kernel, with a rule of its own."""

    def __init__(self, units, **more):
        super().__init__(**more)
        self.units = units

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")

    def call(self, x):
        @tf.custom_gradient
        def op(x, kernel):
            def grad(up):
                up = tf.convert_to_tensor(up)
                return up @ tf.transpose(kernel), tf.transpose(x) @ up

            return x @ kernel, grad

        return op(x, tf.convert_to_tensor(self.kernel))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Unsaved(Dense):
    """Lose what __init__ needs when it is saved."""

    def get_config(self):
        return {"name": self.name}


@tf.custom_gradient
def by_replica(x):
    """Depend on the replica."""
    context = tf.distribute.get_replica_context()
    number = tf.constant(0) if context is None else tf.cast(context.replica_id_in_sync_group, tf.int32)
    return x * x, lambda up: tf.convert_to_tensor(up) * 2.0 * x * (1.0 + tf.cast(number, x.dtype))


@tf.custom_gradient
def overflowing(x):
    """Multiply the upstream by a hundred before it is scaled down again."""
    return x * 0.01, lambda up: tf.convert_to_tensor(up) * 100.0 * tf.cast(0.0001, x.dtype)


@tf.custom_gradient
def scaled_at_once(x):
    return x * 0.01, lambda up: tf.convert_to_tensor(up) * tf.cast(0.01, x.dtype)


@tf.custom_gradient
def costly(x):
    """Compute more than autodiff does."""

    def grad(up):
        total = tf.reduce_sum(tf.stack([tf.sin(x) for _ in range(8)]), 0)
        return tf.convert_to_tensor(up) * 2.0 * x + 0.0 * total

    return x * x, grad


def rounded_inside():
    """Return a model whose first weights get no gradient."""
    layers = tf.keras.layers
    return tf.keras.Sequential([layers.Dense(3), layers.Lambda(lambda x: tf.round(x)), layers.Dense(2)])


@tf.RegisterGradient("GradcheckSin")
def sine(op, up):
    return up * tf.cos(op.inputs[0])


@tf.RegisterGradient("GradcheckSinDoubled")
def sine_doubled(op, up):
    return 2.0 * up * tf.cos(op.inputs[0])


@tf.RegisterGradient("GradcheckSinNone")
def sine_none(op, up):
    return None


@tf.RegisterGradient("GradcheckSinCut")
def sine_cut(op, up):
    """Leave the gradient out where the input is above 3.4, which no drawn number of a few is."""
    return up * tf.where(op.inputs[0] < 3.4, tf.cos(op.inputs[0]), 0.0)


@tf.RegisterGradient("GradcheckMulSummed")
def product_summed(op, up):
    return tf.reduce_sum(up), up * op.inputs[0]


@tf.RegisterGradient("GradcheckMulOne")
def product_one(op, up):
    return up * op.inputs[1]


def overridden(op, name):
    """Return a factory of tf.sin or a product with a gradient that is registered under a name."""

    def make():
        @tf.function
        def unary(x):
            with tf.compat.v1.get_default_graph().gradient_override_map({op: name}):
                return tf.sin(x)

        @tf.function
        def binary(x, y):
            with tf.compat.v1.get_default_graph().gradient_override_map({op: name}):
                return x * y

        return unary if op == "Sin" else binary

    return make


registered = overridden("Sin", "GradcheckSin")
registered_doubled = overridden("Sin", "GradcheckSinDoubled")
registered_cut = overridden("Sin", "GradcheckSinCut")
registered_none = overridden("Sin", "GradcheckSinNone")
registered_shape = overridden("Mul", "GradcheckMulSummed")
registered_count = overridden("Mul", "GradcheckMulOne")
