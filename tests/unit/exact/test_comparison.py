"""What is said of two gradients in ball arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
from flint import arb

from gradcheck.exact.balls import Dual, lift, set_precision
from gradcheck.exact.comparison import Along, along, common_factor, verdict
from gradcheck.results import DIFFERENT, IDENTICAL, OPEN


@pytest.fixture(autouse=True)
def precision():
    set_precision()


def pair(reference, analytic):
    reference, analytic = arb(reference), arb(analytic)
    return Along(reference, analytic, abs(reference) + abs(analytic))


def test_the_same_ball_is_identical_to_all_digits():
    third = arb(1) / 3
    said, digits, _ = verdict([Along(third, arb(1) / 3, 2 * third)])
    assert said == IDENTICAL
    assert digits >= 80


def test_two_exact_zeros_are_identical():
    assert verdict([pair(0, 0)])[0] == IDENTICAL


def test_disjoint_balls_are_different_by_their_size():
    said, _, size = verdict([pair(1, 1), pair(2, arb(2) * (1 + arb("1e-12")))])
    assert said == DIFFERENT
    assert size == pytest.approx(0.5e-12, rel=1e-6)


def test_a_wide_ball_says_nothing():
    assert verdict([Along(arb(1, 0.1), arb(1), arb(2))])[0] == OPEN


def test_what_is_no_number_says_nothing():
    assert verdict([pair("nan", 1)])[0] == OPEN


def test_one_wide_ball_among_narrow_ones_does_not_hide_a_difference():
    assert verdict([Along(arb(1, 0.1), arb(1), arb(2)), pair(1, 2)])[0] == DIFFERENT


def test_terms_that_all_vanish_are_compared_with_one():
    nothing = Along(arb(0, 1e-80), arb(0, 1e-80), arb(0, 2e-80))
    assert verdict([nothing])[0] == IDENTICAL


def test_one_ratio_everywhere_is_a_factor():
    assert common_factor([pair(1, 1.5), pair(-4, -6), pair(0, 0)], 1e-6) == pytest.approx(0.5)


@pytest.mark.parametrize("pairs", [[(1, 1.5), (1, 2)], [(1, 1.5), (0, 1)], [(0, 1)]])
def test_several_ratios_or_none_are_no_factor(pairs):
    assert common_factor([pair(*p) for p in pairs], 1e-6) is None


def test_along_each_direction_both_sides_are_sums():
    x = lift([1.0, 2.0])
    square = Dual(
        x.value * x.value, tuple(2 * x.value * v for v in (np.array([1, 0], object), np.array([0, 1], object)))
    )
    upstream = [np.array([3.0, -1.0])]
    gradient = [lift([6.0, -4.0])]
    found = along([square], upstream, gradient, [[np.array([1.0, 0.0])], [np.array([0.0, 1.0])]])
    assert [float(p.reference) for p in found] == [6.0, -4.0]
    assert [float(p.analytic) for p in found] == [6.0, -4.0]
    assert verdict(found)[0] == IDENTICAL


def test_an_upstream_of_zero_takes_no_part_whatever_the_value_is():
    x = Dual(np.array([arb("nan"), arb(1)], object), (np.array([arb("nan"), arb(2)], object),))
    found = along([x], [np.array([0.0, 1.0])], [lift([0.0, 2.0])], [[np.array([1.0, 1.0])]])
    assert verdict(found)[0] == IDENTICAL


def test_digits_of_equal_numbers_are_without_bound():
    assert math.isinf(pair(1, 1).digits)
