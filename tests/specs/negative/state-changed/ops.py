import tensorflow as tf


state = tf.Variable(2.0, name="state")


@tf.custom_gradient
def scaled(x):
    """Changes the variable, but the gradient uses the value the forward saw."""
    seen = tf.identity(state)

    def grad(upstream, variables=None):
        return upstream * seen, [tf.reduce_sum(upstream * x)]

    y = x * seen
    state.assign_add(1.0)
    return y, grad


@tf.custom_gradient
def scaled_late(x):
    """Reads the variable again in grad_fn, after the forward changed it."""

    def grad(upstream, variables=None):
        return upstream * state, [tf.reduce_sum(upstream * x)]

    y = x * state
    state.assign_add(1.0)
    return y, grad
