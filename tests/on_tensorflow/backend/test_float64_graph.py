"""A traced float32 graph computes in float64 after the rewriting, control flow and variables included."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from gradcheck.backend.tensorflow.float64_graph import CannotRewrite, to_float64
from gradcheck.backend.tensorflow.vector_op import twin_variables


def promoted(f, *values, variables=()):
    specs = [tf.TensorSpec(np.shape(v), tf.float32) for v in values]
    concrete = tf.function(f).get_concrete_function(*specs)
    call = to_float64(concrete, twin_variables(variables)).part(slice(None))
    return call([tf.constant(v, tf.float64) for v in values])[0].numpy()


def test_constants_and_casts_are_promoted():
    x = np.array([0.1, 0.2])
    found = promoted(lambda x: tf.cast(x, tf.float32) * tf.constant(0.5) + tf.sin(x), x)
    assert found.dtype == np.float64
    assert np.allclose(found, 0.5 * x + np.sin(x), rtol=1e-15)


def test_loops_and_conditions_are_promoted():
    def f(x):
        _, y = tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, tf.sin(y)), (0, x))
        return tf.cond(tf.reduce_sum(x) > 0.0, lambda: y * 2.0, lambda: y)

    x = np.array([0.3, 0.4])
    assert np.allclose(promoted(f, x), 2 * np.sin(np.sin(np.sin(x))), rtol=1e-15)


def test_variables_have_float64_twins():
    w = tf.Variable([0.1, 0.7])
    found = promoted(lambda x: x * w, np.array([3.0, 5.0]), variables=[w])
    assert np.allclose(found, np.array([3.0, 5.0]) * w.numpy().astype(np.float64), rtol=1e-15)


def test_python_functions_cannot_be_promoted():
    with pytest.raises(CannotRewrite):
        promoted(lambda x: tf.numpy_function(np.sin, [x], tf.float32), np.array([1.0]))


def test_a_part_needs_only_the_inputs_of_its_outputs():
    concrete = tf.function(lambda x, u: (tf.sin(x), tf.cos(x) * u)).get_concrete_function(
        tf.TensorSpec([2]), tf.TensorSpec([2])
    )
    forward = to_float64(concrete, []).part(slice(1))
    x = np.array([0.3, 0.4])
    assert np.allclose(forward([tf.constant(x)])[0], np.sin(x), rtol=1e-15)


def test_a_part_without_outputs_gives_nothing():
    concrete = tf.function(tf.sin).get_concrete_function(tf.TensorSpec([2]))
    assert to_float64(concrete, []).part(slice(1, None))([tf.zeros(2, tf.float64)]) == []


def test_what_waits_for_an_argument_is_promoted():
    def f(x):
        with tf.control_dependencies([x]):
            return tf.constant([2.0, 3.0]) * 1.0

    assert np.array_equal(promoted(f, np.array([0.1, 0.2])), [2.0, 3.0])


def test_what_is_kept_beside_an_argument_is_promoted():
    def f(x):
        with tf.compat.v1.colocate_with(x):
            return tf.sin(x)

    x = np.array([0.1, 0.2])
    assert np.allclose(promoted(f, x), np.sin(x), rtol=1e-15)


def test_a_table_that_is_looked_up_is_captured():
    keys, values = tf.constant([0, 1]), tf.constant([0.5, 0.25])
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, tf.constant([1, 0])), -1)
    found = promoted(lambda x: x * tf.gather(values, table.lookup(keys)), np.array([2.0, 4.0]))
    assert np.array_equal(found, [0.5, 2.0])
