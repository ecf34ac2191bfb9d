"""Whole numbers are found where people write them: in the op, in what it calls, and in its graph."""

from __future__ import annotations

import tensorflow as tf

from gradcheck.backend.tensorflow.written_numbers import whole_floats, written_numbers


def chunked(u):
    return u[:64]


def op_with_chunks(x):
    def grad(u):
        return chunked(u)

    return x * 2.5, grad


def in_graph(x):
    return tf.where(tf.range(tf.shape(x)[0]) >= 37, x, 2 * x)


def numbers_of(f):
    trace = tf.function(lambda x: x).get_concrete_function(tf.TensorSpec([4]))
    return written_numbers(f, trace)


def test_numbers_of_the_op_and_of_functions_that_it_calls():
    assert 64 in numbers_of(op_with_chunks)


def test_numbers_of_the_graph():
    trace = tf.function(in_graph).get_concrete_function(tf.TensorSpec([4]))
    assert 37 in written_numbers(len, trace)


def test_numbers_of_objects_that_are_called():
    class Layer:
        def __call__(self, x):
            return x[:48]

    assert 48 in numbers_of(Layer())


def test_a_class_and_a_builtin_have_none():
    assert numbers_of(dict) == ()
    assert numbers_of(len) == ()


def test_no_size_that_nobody_tries():
    def op(x):
        return x * 1_000_000 + x[0:1]

    assert numbers_of(op) == ()


def test_whole_numbers_that_a_counter_is_divided_by():
    def warmed(step):
        return tf.minimum(tf.cast(step, tf.float32) / 100.0, 0.75)

    trace = tf.function(warmed).get_concrete_function(tf.TensorSpec([], tf.int32))
    assert whole_floats(trace) == (100,)
