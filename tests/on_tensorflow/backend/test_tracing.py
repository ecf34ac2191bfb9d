"""A concrete function called straight computes what it was traced to compute."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from gradcheck.backend.tensorflow.tracing import Straight, function

X = np.array([0.3, 0.4])


def traced(f):
    return function(f).get_concrete_function(tf.TensorSpec([2], tf.float64))


def test_all_outputs_come_flat():
    found = Straight(traced(lambda x: {"b": tf.cos(x), "a": tf.sin(x)}))([tf.constant(X)])
    assert np.allclose(found, [np.sin(X), np.cos(X)], rtol=1e-15)


def test_variables_are_read_and_assigned():
    total = tf.Variable([1.0, 2.0], dtype=tf.float64)
    call = Straight(traced(lambda x: total.assign_add(x) * 2.0))
    assert np.allclose(call([tf.constant(X)])[0], 2 * (X + np.array([1, 2])), rtol=1e-15)
    assert np.allclose(total.numpy(), X + np.array([1, 2]), rtol=1e-15)


def test_it_can_be_called_while_another_function_is_traced():
    inner = Straight(traced(tf.sin))
    outer = Straight(traced(lambda x: inner([x * 2.0])[0]))
    assert np.allclose(outer([tf.constant(X)])[0], np.sin(2 * X), rtol=1e-15)


def test_loops_run():
    def f(x):
        return tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, tf.sin(y)), (0, x))[1]

    assert np.allclose(Straight(traced(f))([tf.constant(X)])[0], np.sin(np.sin(np.sin(X))), rtol=1e-15)
