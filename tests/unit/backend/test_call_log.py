"""A call that raises once and returns another time with the same inputs is odd; nothing else is."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from gradcheck.backend.tensorflow.call_log import MOST_NUMBERS, CallLog

X, Y = tf.constant([1.0, 2.0]), tf.constant([1.0, 3.0])
ERROR = ValueError("once")


def log(failed, succeeded, variables=()):
    found = CallLog(tuple(variables))
    found.failed(ERROR, *failed)
    found.succeeded(*succeeded)
    return found.odd


def test_the_same_inputs_that_raise_once_are_odd():
    assert log(("f", X), ("f", tf.constant([1.0, 2.0]))) is ERROR


def test_other_numbers_dtypes_or_functions_are_not():
    assert log(("f", X), ("f", Y)) is None
    assert log(("f", X), ("f", tf.cast(X, tf.float64))) is None
    assert log(("f", X), ("g", X)) is None


def test_other_values_of_a_variable_are_another_call():
    scale = tf.Variable(1.0)
    found = CallLog((scale,))
    found.failed(ERROR, X)
    scale.assign(2.0)
    found.succeeded(X)
    assert found.odd is None
    scale.assign(1.0)
    found.succeeded(X)
    assert found.odd is ERROR


def test_what_is_traced_large_or_of_another_kind_is_left_out():
    large = tf.zeros([MOST_NUMBERS + 1])
    slices = tf.IndexedSlices(tf.ones([1, 2]), tf.constant([0]), tf.constant([2, 2]))
    assert log((large,), (large,)) is None
    assert log((slices,), (slices,)) is None

    @tf.function
    def traced(x):
        assert log((x,), (x,)) is None
        return x

    traced(X)


def test_numbers_and_words_beside_the_tensors_belong_to_a_call():
    assert log((X, 3, "same"), (X, 3, "same")) is ERROR
    assert log((X, 3), (X, 4)) is None
    assert log((X, np.float32), (X, np.float32)) is None
