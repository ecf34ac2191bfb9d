"""Wrappers around ops: recomputation, pass-through, Python code, nested rules."""

import tensorflow as tf


@tf.recompute_grad
def recomputed(x):
    """Runs its forward again in the backward pass."""
    return tf.tanh(x) * tf.sin(x)


def identity(x):
    """The function whose gradient is meant."""
    return x


def passed_through(x):
    """Quantizes forward, passes the gradient through."""
    return tf.grad_pass_through(lambda v: tf.round(v * 4.0) / 4.0)(x)


@tf.custom_gradient
def python_code(x):
    """Leaves TensorFlow for Python in the forward pass."""
    y = tf.py_function(lambda v: tf.sin(v), [x], x.dtype)
    y.set_shape(x.shape)

    def grad(upstream):
        return tf.convert_to_tensor(upstream) * tf.cos(x)

    return y, grad


@tf.custom_gradient
def with_its_own_second_rule(x):
    """A sigmoid whose gradient is again an op with a rule of its own."""
    s = tf.sigmoid(x)

    @tf.custom_gradient
    def slope(x, upstream):
        inner = tf.sigmoid(x)

        def grad(again):
            again = tf.convert_to_tensor(again)
            first = inner * (1.0 - inner)
            return again * upstream * first * (1.0 - 2.0 * inner), again * first

        return upstream * inner * (1.0 - inner), grad

    def grad(upstream):
        return slope(x, tf.convert_to_tensor(upstream))

    return s, grad


@tf.function
def already_traced(x):
    """Is a tf.function before gradcheck sees it."""
    return with_its_own_second_rule(x) * 2.0


def looked_up(table, rows):
    """An embedding lookup: its gradient is tf.IndexedSlices."""
    return tf.gather(table, rows) * 3.0
