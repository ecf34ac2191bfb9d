"""A counterexample is made of few and round numbers, and still shows what it is to show."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gradcheck.measure.shrinking import shrunk

numbers = st.lists(st.floats(-9, 9), min_size=4, max_size=30)


@given(numbers)
def test_one_large_number_is_enough_for_a_wrong_one(values):
    x = np.array([*values, 3.7219])
    small = shrunk(lambda x: bool((x > 3.5).any()), x, np.zeros(x.size))
    assert (small > 3.5).any()
    assert np.count_nonzero(small) == 1


@given(numbers)
def test_what_a_sum_needs_is_put_in_one_number(values):
    x = np.abs(values) + 0.1
    least = 0.9 * x.sum()
    small = shrunk(lambda x: bool(x.sum() > least), x, np.zeros(x.size))
    assert small.sum() > least
    assert np.count_nonzero(small) == 1


def test_two_numbers_stay_two():
    x = np.array([0.3, 2.7431, -1.0, -3.1415])
    small = shrunk(lambda x: bool(x[1] > 2.5 and x[3] < -3), x, np.zeros(4))
    assert small.tolist() == [0.0, 3.0, 0.0, -3.1]


def test_numbers_keep_the_digits_that_they_need():
    small = shrunk(lambda x: bool(2.415 < x[0] < 2.43), np.array([2.4209341, 1.0]), np.zeros(2))
    assert small.tolist() == [2.42, 0.0]


def test_numbers_that_may_not_be_zero_stay_those_of_the_sample():
    base = np.array([0.7, 0.2])
    assert shrunk(lambda x: bool(x[0] > 4), np.array([4.4, 0.9]), base).tolist() == [4.4, 0.2]
