"""A truth value is as far from true as its operands say, however it was put together."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck.backend.tensorflow.truth import Truth, equal, known, positive, soft

rows = st.lists(st.integers(-3, 3), min_size=3, max_size=3)


def of(values, depth=0.0):
    return positive(tf.constant(values, tf.float64), depth)


def consistent(truth: Truth) -> bool:
    value = truth.value.numpy()
    return bool(
        np.array_equal(truth.to_true.numpy() == 0, value) and np.array_equal(truth.to_false.numpy() == 0, ~value)
    )


@settings(max_examples=40, deadline=None)
@given(rows, rows)
def test_no_distance_from_what_is_so_and_some_from_what_is_not(a, b):
    # Halves, so that nothing lies on a border.
    one, other = of(np.array(a) + 0.5), of(np.array(b) - 0.5)
    for truth in (one, one.opposite(), one.both(other), one.either(other), one.all([0], False), one.any([0], True)):
        assert consistent(truth)


@settings(max_examples=40, deadline=None)
@given(rows)
def test_what_is_exactly_equal_is_on_the_side_that_it_says(a):
    assert consistent(of(a, 1e-6))
    gap = tf.constant(a, tf.float64)
    assert consistent(equal(gap, 1e-6, tf.equal(gap, 0)))


def test_a_side_begins_at_its_depth():
    truth = of([0.05, 0.2, -0.05, -0.2], depth=0.1)
    assert (truth.to_true.numpy() == 0).tolist() == [False, True, False, False]
    assert (truth.to_false.numpy() == 0).tolist() == [False, False, False, True]


def test_a_count_has_the_slope_of_what_it_counts():
    x = tf.constant([-1.0, 0.5, 2.0], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(x)
        count = tf.reduce_sum(soft(positive(x, 0.0)))
    assert float(count) == 2.0
    assert (tape.gradient(count, x).numpy() > 0).all()


def test_of_a_mere_truth_value_nothing_is_known_but_itself():
    assert consistent(known(tf.constant([True, False])))
