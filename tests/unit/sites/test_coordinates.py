"""Other points lie near the sample, inside the domain, and keep what has a meaning."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck.sites.coordinates import another_point, another_point_of_like_signs, free_coordinates, inside
from gradcheck.verdict.tolerances import POINT_FACTORS
from tests.unit.sites.ops import Leaf, sampled

X = np.linspace(-1.0, 2.0, 41)


@given(st.floats(-10, 10), st.floats(-5, 0), st.floats(0.5, 5))
def test_a_value_outside_the_domain_is_mirrored_or_left_as_it_was(value, low, high):
    kept = (low + high) / 2
    got = inside(value, low, high, kept)
    assert low < got < high
    assert got in (value, -value, kept)
    assert got == value or not low < value < high
    assert got != kept or kept in (value, -value) or not low < -value < high


@pytest.mark.parametrize("value", [0.0, 5.0])
def test_the_ends_of_a_domain_are_outside(value):
    assert inside(value, 0.0, 5.0, 2.0) == 2.0


def test_another_point_scales_each_number_by_its_own_factor():
    (moved,) = another_point(sampled(X))
    factor = moved / X
    assert ((factor >= POINT_FACTORS[0]) & (factor <= POINT_FACTORS[1])).all()
    assert np.unique(factor).size == X.size


def test_some_or_all_signs_are_flipped():
    (some,) = another_point(sampled(X), flipped=0.5)
    (every,) = another_point(sampled(X), flipped=1.0)
    assert 0 < (np.sign(some) != np.sign(X)).sum() < X.size
    assert (np.sign(every) == -np.sign(X)).all()


def test_inputs_with_a_domain_a_structure_or_no_gradient_keep_their_signs_or_stay():
    positive = Leaf(np.linspace(1.0, 4.0, 9), domain=(1.0, 5.0))
    labels, matrix = Leaf(np.arange(3)), Leaf(np.eye(2), structure="spd")
    labels.differentiated = False
    a, b, c = another_point(sampled(positive, labels, matrix), flipped=1.0)
    assert ((a >= 1.0) & (a <= 5.0)).all()
    assert (a != positive.values).any()
    assert b is labels.values
    assert c is matrix.values


def test_an_input_of_one_sign_keeps_it_where_signs_may_mean_something():
    op = sampled(X, np.abs(X) + 0.1, -np.abs(X) - 0.1)
    both, plus, minus = another_point_of_like_signs(op, "variables")
    assert (both > 0).any()
    assert (both < 0).any()
    assert (np.sign(both) != np.sign(X)).any()
    assert (plus > 0).all()
    assert (minus < 0).all()


def test_structured_coordinates_are_not_free_and_those_that_avoid_zero_are_shy():
    free, shy = free_coordinates(sampled(Leaf(np.eye(2), structure="symmetric"), Leaf(X[:2], avoids_zero=True), X[:1]))
    assert free.tolist() == [False] * 3 + [True] * 3
    assert shy.tolist() == [False] * 3 + [True, True, False]
