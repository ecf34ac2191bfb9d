"""A point is moved to where a distance is zero, and no further than it must."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gradcheck.numerics.descent import deepened, reached, rounded


def float32(x):
    return x.astype(np.float32).astype(np.float64)


def above(f, slopes, least):
    """Return the distance of a smooth function from being larger than `least`."""

    def toward(x, depth):
        gap = least + depth * (1 + abs(least)) - f(x)
        return gap <= 0, max(gap, 0.0), -slopes(x) if gap > 0 else np.zeros(x.size)

    return toward


def between(low, high):
    """Return the distance of the nearest number from an interval."""

    def toward(x, depth):
        d = np.maximum(low + depth - x, 0) + np.maximum(x - high + depth, 0)
        i = int(np.argmin(d))
        slopes = np.zeros(x.size)
        slopes[i] = float(x[i] > high - depth) - float(x[i] < low + depth)
        return d[i] == 0, float(d[i]), slopes

    return toward


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6), st.floats(1, 500))
def test_a_sum_of_squares_is_made_as_large_as_asked_for(start, least):
    x = reached(above(lambda x: float(x @ x), lambda x: 2 * x, least), np.array(start) + 0.1, float32)
    if np.any(np.abs(np.array(start) + 0.1) > 0.01):
        assert x is not None
        assert x @ x > least


@given(st.floats(-50, 50), st.sampled_from([1e-3, 0.01, 0.3]))
@example(32.238498008047614, 0.01)
def test_a_narrow_band_is_met(low, width):
    toward = between(low, low + width)
    x = reached(toward, np.array([0.3, -1.2, 2.0]), float32)
    assert x is not None
    assert np.any((x > low) & (x < low + width))


def test_a_step_that_is_lost_in_rounding_is_made_longer():
    def toward(x, depth):
        gap = 41.3 + 1e-6 - x[0]
        return gap <= 0, max(gap, 0.0), np.array([-1.0])

    x = reached(toward, np.array([2.0]), float32)
    assert x is not None
    assert x[0] > 41.3


def test_what_no_step_reaches_is_not_reached():
    assert reached(above(lambda x: -float(x @ x), lambda x: -2 * x, 1.0), np.ones(3), float32) is None
    assert reached(lambda x, depth: (False, 1.0, np.zeros(x.size)), np.ones(3), float32) is None
    assert reached(lambda x, depth: (False, float("nan"), np.ones(x.size)), np.ones(3), float32) is None


@pytest.mark.parametrize("value", [2.5, 0.1, 3.0, -0.7])
def test_a_number_that_is_written_in_the_op_is_met_exactly(value):
    exact = float(np.float32(value))

    def toward(x, depth):
        gap = x[0] - exact
        return gap == 0, abs(gap), np.array([np.sign(gap)])

    x = reached(toward, np.array([0.37]), float32)
    assert x is not None
    assert x[0] == exact


def test_round_numbers_meet_equal_ones():
    def toward(x, depth):
        gap = x[0] - x[1]
        return gap == 0, abs(gap), np.array([np.sign(gap), -np.sign(gap)])

    x = rounded(toward, np.array([1.249, 1.251]), float32)
    assert x is not None
    assert x[0] == x[1]


def test_a_point_lies_as_deep_inside_as_it_can():
    assert deepened(above(lambda x: x[0], lambda x: np.ones(1), 1.0), np.array([1.000003]), float32)[0] > 1.1
    band = between(1.0, 1.05)
    assert 1.005 < deepened(band, np.array([1.000002]), float32)[0] < 1.045
    thin = np.array([1.00000001])
    assert deepened(between(1.0, 1.00000002), thin, lambda x: x) is thin
