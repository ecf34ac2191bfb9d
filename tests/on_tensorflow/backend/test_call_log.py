"""A call that raises once and returns another time with the same inputs is odd; nothing else is."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from gradcheck.backend.tensorflow.call_log import MOST_NUMBERS, CallLog

X, Y = tf.constant([1.0, 2.0]), tf.constant([1.0, 3.0])
ERROR = ValueError("once")


def refuse():
    raise ERROR


def log(failed, succeeded, variables=()):
    found = CallLog(tuple(variables))
    found.failed(ERROR, refuse, *failed)
    found.succeeded(*succeeded)
    return found.odd()


def test_the_same_inputs_that_raise_once_are_odd():
    assert log(("f", X), ("f", tf.constant([1.0, 2.0]))) is ERROR


def test_other_numbers_dtypes_or_functions_are_not():
    assert log(("f", X), ("f", Y)) is None
    assert log(("f", X), ("f", tf.cast(X, tf.float64))) is None
    assert log(("f", X), ("g", X)) is None


def test_other_values_of_a_variable_are_another_call():
    scale = tf.Variable(1.0)
    found = CallLog((scale,))
    found.failed(ERROR, refuse, X)
    scale.assign(2.0)
    found.succeeded(X)
    assert found.odd() is None
    scale.assign(1.0)
    found.succeeded(X)
    assert found.odd() is ERROR


def test_a_call_that_is_traced_is_known_by_shapes_and_dtypes():
    found = []

    @tf.function(input_signature=[tf.TensorSpec([None, 3]), tf.TensorSpec([2, 3])])
    def traced(some, two):
        found.append(log(("f", two), ("f", two + 1.0)))
        found.append(log(("f", some), ("f", two)))
        return some

    traced(tf.ones([4, 3]), tf.ones([2, 3]))
    assert found == [ERROR, None]


def test_a_call_that_is_traced_is_another_one_than_in_eager():
    calls = CallLog()
    calls.failed(ERROR, refuse, "f", X)

    @tf.function
    def traced(x):
        calls.succeeded("f", x)
        return x

    traced(X)
    assert calls.odd() is None


def test_a_call_that_raised_once_and_returns_when_it_is_made_again_is_odd():
    calls = CallLog()
    calls.failed(ERROR, lambda: X, "f", Y)
    assert calls.odd() is ERROR


def test_a_call_that_raised_is_not_made_again_with_other_values_of_variables():
    scale = tf.Variable(1.0)
    calls = CallLog((scale,))
    calls.failed(ERROR, lambda: X, "f", Y)
    scale.assign(2.0)
    assert calls.odd() is None


def test_a_lack_of_memory_is_not_odd():
    calls = CallLog()
    calls.failed(MemoryError(), lambda: X, "f", Y)
    assert calls.odd() is None


def test_what_is_large_or_of_another_kind_is_left_out():
    large = tf.zeros([MOST_NUMBERS + 1])
    assert log((large,), (large,)) is None
    assert log((object(),), (object(),)) is None


def test_numbers_and_words_beside_the_tensors_belong_to_a_call():
    assert log((X, 3, "same"), (X, 3, "same")) is ERROR
    assert log((X, 3), (X, 4)) is None
    assert log((X, np.float32), (X, np.float32)) is None
