"""Keras layers and models with custom gradients inside, and as people first write them."""

import tensorflow as tf


@tf.custom_gradient
def sine(x):
    def grad(upstream):
        return tf.convert_to_tensor(upstream) * tf.cos(x)

    return tf.sin(x), grad


class Sine(tf.keras.layers.Layer):
    """The sine activation as a layer."""

    def call(self, x):
        return sine(x)


def sine_model(units):
    """A small model with the layer between dense ones."""
    return tf.keras.Sequential([tf.keras.layers.Dense(units), Sine(), tf.keras.layers.Dense(1)])


class Scale(tf.keras.layers.Layer):
    """x * v with one weight and no custom gradient."""

    def build(self, shape):
        self.v = self.add_weight(shape=(), initializer="ones", name="v")

    def call(self, x):
        return x * self.v


class Affine(tf.keras.layers.Layer):
    """x * v1 + v2 with a custom gradient that looks its variables up."""

    def build(self, shape):
        self.v1 = self.add_weight(shape=(shape[-1],), initializer="random_normal", name="v1")
        self.v2 = self.add_weight(shape=(shape[-1],), initializer="random_normal", name="v2")

    def call(self, x):
        return self.affine(x)

    @tf.custom_gradient
    def affine(self, x):
        v1, v2 = tf.convert_to_tensor(self.v1), tf.convert_to_tensor(self.v2)

        def grad(upstream, variables=None):
            known = {
                self.v1.value.ref(): tf.reduce_sum(upstream * x, axis=0),
                self.v2.value.ref(): tf.reduce_sum(upstream, axis=0),
            }
            return upstream * v1, [known[v.ref()] for v in variables]

        return x * v1 + v2, grad


class PositiveDense(tf.keras.layers.Layer):
    """Matrix product with weights kept positive by ReLU; `call` itself has the custom gradient."""

    def __init__(self, units):
        super().__init__()
        self.units = units

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], self.units), initializer="random_normal", name="w")

    @tf.custom_gradient
    def call(self, x):
        w = tf.convert_to_tensor(self.w)
        positive = tf.nn.relu(w)

        def grad(upstream, variables=None):
            upstream = tf.convert_to_tensor(upstream)
            dx = tf.matmul(upstream, positive, transpose_b=True)
            dw = tf.where(w > 0.0, tf.matmul(x, upstream, transpose_a=True), 0.0)
            return dx, [dw]

        return tf.matmul(x, positive), grad


class PositiveDenseNoKeyword(PositiveDense):
    """grad_fn has no `variables`."""

    @tf.custom_gradient
    def call(self, x):
        positive = tf.nn.relu(self.w)

        def grad(upstream):
            return tf.matmul(upstream, positive, transpose_b=True)

        return tf.matmul(x, positive), grad


class PositiveDenseNone(PositiveDense):
    """grad_fn returns None for the inputs."""

    @tf.custom_gradient
    def call(self, x):
        w = tf.convert_to_tensor(self.w)
        positive = tf.nn.relu(w)

        def grad(upstream, variables=None):
            return None, [tf.where(w > 0.0, tf.matmul(x, upstream, transpose_a=True), 0.0)]

        return tf.matmul(x, positive), grad


class StatefulScale(tf.keras.layers.Layer):
    """y = x exp(state); each call adds 1 to the state, which is put back between evaluations."""

    def build(self, shape):
        self.state = self.add_weight(shape=(), initializer="zeros", name="state")

    def call(self, x):
        factor = tf.exp(tf.convert_to_tensor(self.state))
        self.state.assign_add(1.0)
        return x * factor


class Untracked(tf.keras.layers.Layer):
    """A plain tf.Variable attribute: Keras 3 does not list it, no optimizer updates it."""

    def __init__(self):
        super().__init__()
        self.v = tf.Variable(1.5)

    def call(self, x):
        return x * self.v


class PositiveDenseUnfit(PositiveDense):
    """Multiplies matrices whose shapes do not fit."""

    @tf.custom_gradient
    def call(self, x):
        positive = tf.nn.relu(tf.convert_to_tensor(self.w))
        return tf.matmul(positive, x), lambda upstream, variables=None: (upstream, [upstream])


class AffineSwapped(Affine):
    """Returns the gradients of its variables in the order in which they were made."""

    @tf.custom_gradient
    def affine(self, x):
        v1, v2 = tf.convert_to_tensor(self.v1), tf.convert_to_tensor(self.v2)

        def grad(upstream, variables=None):
            return upstream * v1, [tf.reduce_sum(upstream * x, axis=0), tf.reduce_sum(upstream, axis=0)]

        return x * v1 + v2, grad


def functional_model(units):
    """A functional model around the sine layer, with a skip connection."""
    inputs = tf.keras.Input((3,))
    hidden = Sine()(tf.keras.layers.Dense(units)(inputs))
    return tf.keras.Model(inputs, tf.keras.layers.Concatenate()([hidden, inputs]))


def mixed_precision_dense(units):
    """Computes in bfloat16 and keeps float32 weights."""
    return tf.keras.layers.Dense(units, activation="gelu", dtype="mixed_bfloat16")
