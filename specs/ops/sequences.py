"""Sequences and masks: loops over a static length, conditional updates."""

import tensorflow as tf


@tf.custom_gradient
def masked_average(x, threshold):
    """Mean over axis 1 of the elements above a threshold, 0 where there is none."""
    mask = tf.cast(x > threshold, x.dtype)
    count = tf.maximum(tf.reduce_sum(mask, axis=1, keepdims=True), 1.0)

    def grad(upstream):
        upstream = tf.convert_to_tensor(upstream)
        return upstream[:, None] * mask / count, tf.zeros_like(threshold)

    return tf.reduce_sum(x * mask, axis=1) / count[:, 0], grad


def _states(x, initial):
    states, masks, state = [], [], initial
    for step in range(x.shape[1]):
        mask = tf.cast(tf.reduce_sum(x[:, step]) > 0.0, x.dtype)
        state = state + mask * x[:, step]
        states.append(state)
        masks.append(mask)
    return tf.stack(states, axis=1), tf.stack(masks)[None, :]


@tf.custom_gradient
def running_state(x, initial_state):
    """Adds a step to the state if its sum is positive; all states are outputs."""
    states, masks = _states(x, initial_state)

    def grad(upstream):
        later = tf.cumsum(tf.convert_to_tensor(upstream), axis=1, reverse=True)
        return later * masks, later[:, 0]

    return states, grad


@tf.custom_gradient
def running_state_assigning(x, initial_state):
    """Assigns into a tensor, which TensorFlow does not allow."""
    states, _ = _states(x, initial_state)

    def grad(upstream):
        dx = tf.zeros_like(x)
        dx[:, 0] = upstream[:, 0]
        return dx, upstream[:, 0]

    return states, grad


@tf.custom_gradient
def running_state_own_step(x, initial_state):
    """Gives each step its own upstream only, not the sum of all later ones."""
    states, masks = _states(x, initial_state)

    def grad(upstream):
        upstream = tf.convert_to_tensor(upstream)
        return upstream * masks, tf.reduce_sum(upstream, axis=1)

    return states, grad


def running_state_list(x, initial_state):
    """Collects the states of a traced loop in a Python list."""
    state, states = initial_state, []
    for step in tf.range(tf.shape(x)[1]):
        state = state + x[:, step]
        states.append(state)
    return tf.stack(states, axis=1)


def exponential_average(x, decay):
    """The running average as a tf.scan, differentiated by TensorFlow."""
    return tf.scan(lambda mean, value: decay * mean + (1.0 - decay) * value, x, tf.zeros_like(x[0]))


@tf.custom_gradient
def newton_root(a):
    """The square root by Newton's method; its gradient by the implicit function theorem."""
    _, root = tf.while_loop(lambda i, _: i < 20, lambda i, r: (i + 1, (r + a / r) / 2.0), (0, a), maximum_iterations=20)

    def grad(upstream):
        return tf.convert_to_tensor(upstream) / (2.0 * root)

    return root, grad


def running_maximum(x):
    """A tf.map_fn over the rows with a tf.cond inside."""

    def row(values):
        return tf.cond(tf.reduce_sum(values) > 0.0, lambda: values * 2.0, lambda: tf.sin(values))

    return tf.map_fn(row, x)
