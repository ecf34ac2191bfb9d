"""Where values tie, every subgradient is right and everything else is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.differences.subgradients import OneSided, outside_of_subgradients
from gradcheck.differences.vector_function import Point


def judged(f, x, cotangent, gradient) -> OneSided | None:
    x = np.asarray(x, np.float64)
    low, high = np.full(x.size, -np.inf), np.full(x.size, np.inf)
    point = Point(lambda rows: np.stack([f(row) for row in rows]), x, f(x), np.asarray(cotangent, float), low, high)
    return outside_of_subgradients(point, np.asarray(gradient, np.float64), np.arange(x.size))


def maximum(x):
    return np.maximum(*np.split(x, 2))


@pytest.mark.parametrize("share", [(1, 0), (0, 1), (0.5, 0.5), (0.2, 0.8)])
def test_a_shared_maximum_may_be_split_in_any_way(share):
    assert judged(maximum, [1.0, 1.0], [2.0], 2 * np.array(share)) is None


@pytest.mark.parametrize("share", [(1, 1), (0, 0), (0.5, 0.2)])
def test_a_shared_maximum_is_counted_once(share):
    found = judged(maximum, [1.0, 1.0], [2.0], 2 * np.array(share))
    assert found is not None
    assert (found.low, found.high) == pytest.approx((2, 2))


def test_pairs_apart_may_each_give_all_to_their_first_whatever_the_sign_of_the_upstream():
    x, v = np.ones(8), np.array([1.0, -1.0, 0.5, -2.0])
    assert judged(maximum, x, v, np.r_[v, np.zeros(4)]) is None


def test_one_wrong_pair_of_many_is_found():
    x, v = np.ones(800), np.where(np.arange(400) % 2, 1.0, -1.5)
    assert judged(maximum, x, v, np.r_[v, v]) is not None


def test_relu_and_abs_may_take_either_slope_at_zeros():
    x, v = np.zeros(6), np.array([1.0, -1.0, 0.5, -2.0, 1.5, -0.7])
    assert judged(lambda x: np.maximum(x, 0), x, v, v) is None
    assert judged(np.abs, x, v, v) is None


def test_zeros_of_one_sum_are_apart():
    weights = np.array([1.0, -1.0, 2.0])
    total = lambda x: np.array([np.sum(weights * np.maximum(x, 0))])  # noqa: E731
    assert judged(total, np.zeros(3), [1.0], weights) is None
    assert judged(total, np.zeros(3), [1.0], np.zeros(3)) is None


def test_three_equal_values_share_one_slope():
    largest = lambda x: np.array([x.max()])  # noqa: E731
    assert judged(largest, np.ones(3), [1.0], np.full(3, 1 / 3)) is None
    assert judged(largest, np.ones(3), [1.0], np.full(3, 0.5)) is not None


def test_neighbouring_differences_of_equal_values_may_each_take_a_slope():
    steps = lambda x: np.abs(np.diff(x))  # noqa: E731
    v = np.array([1.0, -1.0, 1.0])
    assert judged(steps, np.zeros(4), v, np.r_[-v, 0] + np.r_[0, v]) is None
