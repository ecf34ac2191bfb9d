"""A gradient wrong far from the sample is followed to the inputs and to the place where it starts."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.measure.paths import erratic, fades, grows_slowly, needed, onsets, proportional

SAMPLE = np.linspace(-1.0, 1.0, 9)


@pytest.mark.parametrize("guilty", [(3,), (0, 8), (2, 3, 7)])
def test_only_the_inputs_that_matter_are_kept(guilty):
    far = SAMPLE + 100.0
    wrong = lambda x: all(x[i] > 50 for i in guilty)  # noqa: E731
    assert tuple(needed(wrong, SAMPLE, far)) == guilty


@pytest.mark.parametrize(
    ("gap", "slowly"),
    [
        (lambda x: float(x[0] > 5), False),
        (lambda x: max(0.0, float(x[0]) - 5), False),
        (lambda x: min(1.0, abs(float(x[0]) / 100) ** 12), True),
        (lambda x: min(1.0, 1e-30 * np.exp(min(float(x[0]), 700.0))), True),
    ],
    ids=["branch", "clip", "series", "iteration"],
)
def test_a_branch_starts_at_a_place_and_an_approximation_does_not(gap, slowly):
    assert grows_slowly(*onsets(gap, np.zeros(1), np.full(1, 90.0))) is slowly


BESIDE = 2.0 * (1 + 0.03 * np.arange(-4, 5))


def newton_slope(a, steps=8):
    """Return the slope of a square root by Newton's steps."""
    y, slope = 1.0, 0.0
    for _ in range(steps):
        y, slope = 0.5 * (y + a / y), 0.5 * (slope + 1 / y - a * slope / y**2)
    return slope


@pytest.mark.parametrize("slope", [np.exp, np.cos, np.sign, newton_slope, lambda x: np.exp(50 * x), lambda x: x**9])
def test_slopes_of_a_function_follow_one_another(slope):
    assert not erratic(np.array([slope(x) for x in BESIDE]))


def test_slopes_of_an_iteration_that_does_not_converge_follow_no_order():
    assert erratic(np.array([newton_slope(-x) for x in BESIDE]))


def test_what_is_no_number_has_no_order_to_speak_of():
    assert not erratic(np.full(9, np.nan))


def test_what_fades_towards_zero_begins_and_ends_at_places_far_apart_beside_their_size():
    assert fades(np.array([0.05, 1.0]), np.array([0.01, 1.0]))
    assert fades(np.array([0.01]), np.array([-0.01]))


def test_a_branch_begins_and_ends_at_one_place():
    assert not fades(np.array([6.0, -3.0]), np.array([6.006, -3.0]))
    assert not fades(np.zeros(1), np.zeros(1))
    assert not fades(np.zeros(0), np.zeros(0))


def _gap(order, start=0.0):
    return lambda x: float(start + np.abs(x[0]) ** order)


@pytest.mark.parametrize("order", [1, 2])
def test_a_term_that_is_zero_at_the_sample_grows_like_the_way(order):
    assert proportional(_gap(order), np.zeros(1), np.array([3.0]))


def test_an_iteration_that_stops_to_converge_loses_nothing_near_by():
    assert not proportional(lambda x: float(1e-12 * np.exp(8 * x[0])), np.zeros(1), np.array([3.0]))
    assert not proportional(_gap(1, start=1e-3), np.zeros(1), np.array([3.0]))


def test_a_fourth_power_is_that_of_a_series_which_is_cut_off():
    assert not proportional(_gap(4), np.zeros(1), np.array([3.0]))
