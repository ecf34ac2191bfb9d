"""When two ways of the own dtype differ by more than rounding explains."""

import numpy as np
import pytest

from gradcheck.verdict.allowances import rounding_tolerance
from gradcheck.verdict.rounding import beyond, bias_of, last_digits_moved, nothing_left

ROUNDOFF = 2.0**-24
RNG = np.random.default_rng(5)
EXACT = np.concatenate([[0.0, 0.0], RNG.normal(size=38)])
BASE = EXACT.astype(np.float32).astype(float)


def differs(found):
    tolerance = rounding_tolerance(EXACT, np.zeros(EXACT.size), ROUNDOFF)
    return beyond(np.asarray(found, float), BASE, EXACT, tolerance, ROUNDOFF)


def test_a_way_that_knows_fewer_digits_everywhere_is_not_blamed_where_the_value_is_zero():
    assert not differs(BASE + 4e-6 * RNG.choice([-1.0, 1.0], BASE.size)).any()


def test_a_way_that_is_off_at_zeros_alone_is_blamed():
    found = BASE.copy()
    found[:2] += 4e-5
    assert np.flatnonzero(differs(found)).tolist() == [0, 1]


@pytest.mark.parametrize("factor", [1.001, 0.99, -1.0, 0.0])
def test_a_way_that_is_off_by_one_factor_is_blamed(factor):
    assert differs(factor * BASE)[2:].all()


def test_a_way_that_is_elsewhere_is_blamed_wherever_that_shows():
    assert differs(BASE + 0.1 * RNG.normal(size=BASE.size)).mean() > 0.9


def test_a_number_that_one_way_lacks_is_blamed():
    found = BASE.copy()
    found[7] = np.nan
    assert np.flatnonzero(differs(found)).tolist() == [7]


def test_last_digits_move_each_number_by_one_unit_up_or_down():
    values = np.array([1.0, -2.0, 0.0, 4.0] * 20)
    moved = last_digits_moved(values, 1e-3, np.random.default_rng(0))
    nonzero = values != 0
    ratio = moved[nonzero] / values[nonzero] - 1
    assert np.allclose(np.abs(ratio), 1e-3)
    assert (ratio > 0).any()
    assert (ratio < 0).any()
    assert (moved[~nonzero] == 0).all()


def test_the_same_results_do_not_differ_and_what_is_no_number_in_one_way_only_does():
    assert not differs(BASE).any()
    found = BASE.copy()
    found[3] = np.nan
    assert np.flatnonzero(differs(found)).tolist() == [3]


def test_one_wrong_element_is_seen_and_a_common_factor_too():
    found = BASE.copy()
    found[7] *= 1.01
    assert np.flatnonzero(differs(found)).tolist() == [7]
    assert differs(1.01 * BASE)[2:].all()


def test_what_the_base_loses_another_way_may_lose():
    """Both ways of a difference of nearly equal numbers are off by as much, in other directions."""
    exact = RNG.normal(size=40)
    base = exact * (1 + 1e-3 * RNG.choice([-1.0, 1.0], 40))
    found = exact * (1 + 2e-3 * RNG.choice([-1.0, 1.0], 40))
    tolerance = rounding_tolerance(exact, np.zeros(40), ROUNDOFF)
    assert not beyond(found, base, exact, tolerance, ROUNDOFF).any()
    assert beyond(found, exact, exact, tolerance, ROUNDOFF).any()


@pytest.mark.parametrize("factor", [1.01, 0.99, -1.0, 2.0])
def test_a_common_factor_is_a_bias(factor):
    assert np.isclose(bias_of(factor * EXACT, EXACT, ROUNDOFF), factor - 1)


def test_rounding_and_a_single_wrong_element_are_no_bias():
    assert bias_of(BASE, EXACT, ROUNDOFF) is None
    found = EXACT.copy()
    found[5] *= 3
    assert bias_of(found, EXACT, ROUNDOFF) is None


def test_a_small_factor_counts_where_a_small_one_is_asked_for():
    found = EXACT * (1 + 1e-4)
    assert bias_of(found, EXACT, 2.0**-53) is None
    assert np.isclose(bias_of(found, EXACT, 2.0**-53, shared=1e-5), 1e-4)


def test_few_elements_need_a_larger_factor():
    assert bias_of(EXACT[2:5] * 1.002, EXACT[2:5], ROUNDOFF, shared=1e-3) is None
    assert np.isclose(bias_of(EXACT[2:5] * 1.5, EXACT[2:5], ROUNDOFF, shared=1e-3), 0.5)


def test_of_no_usable_elements_there_is_no_bias():
    assert bias_of(np.zeros(0), np.zeros(0), ROUNDOFF) is None
    assert bias_of(np.full(3, np.nan), np.ones(3), ROUNDOFF) is None
    assert bias_of(np.ones(3), np.zeros(3), ROUNDOFF) is None


def left(found, base, exact, scale=1.0):
    return nothing_left(np.array([found]), np.array([base]), np.array([exact]), scale, ROUNDOFF).item()


def test_of_terms_that_cancel_one_way_leaves_a_rounding_and_the_other_none():
    assert left(9e-8, 0.0, 1e-16)
    assert left(0.0, -1e-7, 0.0)
    assert left(3e-5, 0.0, 0.0, scale=1000.0)


def test_more_than_roundings_of_what_comes_in_is_left():
    assert not left(1e-6, 0.0, 0.0)
    assert not left(9e-8, 0.0, 0.0, scale=0.01)
    assert not left(np.nan, 0.0, 0.0)


def test_a_small_result_of_which_digits_are_known_is_no_rounding():
    exact = 1.2345678e-7
    assert not left(2 * exact, float(np.float32(exact)), exact)
