"""A long gradient is decided along random directions, and by autodiff where those confirm it."""

import numpy as np
import pytest

from gradcheck.differences.assess import Outcome, Tolerance
from gradcheck.differences.ladder import Label
from gradcheck.differences.projections import assess_along_directions
from gradcheck.differences.vector_function import Point

COUNT = 400
X = np.random.default_rng(3).normal(size=COUNT)
V = np.random.default_rng(4).normal(size=COUNT)
RIGHT = V * (np.sin(X) + X * np.cos(X))


def assessed(gradient, autodiff):
    no_bound = np.full(COUNT, np.inf)
    point = Point(lambda rows: np.sin(rows) * rows, X, np.sin(X) * X, V, -no_bound, no_bound)
    return assess_along_directions(point, gradient, autodiff, Tolerance(1e-5), np.random.default_rng(0), True)


def test_a_right_gradient_agrees_everywhere():
    assert (assessed(RIGHT, RIGHT).outcome == Outcome.AGREES).all()


@pytest.mark.parametrize("factor", [1.001, 0.0, -1.0])
def test_a_gradient_off_by_a_factor_is_wrong_at_every_element(factor):
    found = assessed(factor * RIGHT, RIGHT)
    assert found.wrong.mean() > 0.99
    assert np.allclose(found.value, RIGHT, rtol=1e-6, atol=1e-9)


def test_a_gradient_without_autodiff_is_wrong_where_halving_finds_it():
    gradient = RIGHT.copy()
    gradient[[5, 6]] *= -1
    assert np.flatnonzero(assessed(gradient, None).wrong).tolist() == [5, 6]


def test_a_gradient_without_autodiff_that_is_wrong_all_over_is_measured_at_a_sample():
    evaluated = 0

    def counted(rows):
        nonlocal evaluated
        evaluated += len(rows)
        return np.sin(rows) * rows

    no_bound = np.full(COUNT, np.inf)
    point = Point(counted, X, np.sin(X) * X, V, -no_bound, no_bound)
    found = assess_along_directions(point, 2 * RIGHT, None, Tolerance(1e-5), np.random.default_rng(0), True)
    assert 30 < found.wrong.sum() < COUNT / 2
    assert evaluated < 50 * 36


def test_autodiff_that_directions_contradict_accuses_nobody():
    assert not assessed(RIGHT, 2 * RIGHT).wrong.any()


def test_a_wrong_gradient_that_autodiff_shares_is_found():
    assert assessed(2 * RIGHT, 2 * RIGHT).wrong.any()


def test_an_element_that_is_no_number_is_left_to_the_reader():
    gradient = RIGHT.copy()
    gradient[9] = np.nan
    found = assessed(gradient, RIGHT)
    assert not found.wrong.any()
    assert found.label[9] == Label.SMOOTH
    assert found.value[9] == pytest.approx(RIGHT[9])


def test_directions_that_contradict_what_no_element_does_leave_all_open():
    def cube_roots(rows):
        return np.cbrt(rows[:, ::2] ** 2 * rows[:, 1::2])

    x, no_bound = np.zeros(COUNT), np.full(COUNT, np.inf)
    point = Point(cube_roots, x, np.zeros(COUNT // 2), V[: COUNT // 2], -no_bound, no_bound)
    found = assess_along_directions(point, x, None, Tolerance(1e-5), np.random.default_rng(0), True)
    assert not found.wrong.any()
    assert (found.label == Label.NOISY).sum() > 0.8 * COUNT
    assert (found.outcome == Outcome.UNDECIDED).sum() > 0.8 * COUNT
