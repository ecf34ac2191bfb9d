"""Values tie: the largest of each row, the smallest, levels, one input and another, rows of zeros."""

from __future__ import annotations

import numpy as np

from gradcheck.sites.ties import ties
from gradcheck.verdict.tolerances import LARGEST_INPUT, LEVELS
from tests.unit.sites.ops import Leaf, sampled

X = np.random.default_rng(0).normal(size=(3, 6))


def _sites(op):
    return list(ties(op))


def _tied(op):
    return _sites(op)[0].values


def test_the_two_largest_and_the_two_smallest_of_each_row_tie():
    (tied,) = _tied(sampled(X))
    ordered, before = np.sort(tied, axis=-1), np.sort(X, axis=-1)
    assert (ordered[:, -1] == ordered[:, -2]).all()
    assert (ordered[:, 0] == ordered[:, 1]).all()
    assert (ordered[:, 2:4] == before[:, 2:4]).all()
    assert (tied != X).sum() == 6


def test_of_a_row_of_three_two_numbers_tie_and_not_all():
    (tied,) = _tied(sampled(X[:, :3]))
    assert [np.unique(row).size for row in tied] == [2, 2, 2]


def test_half_of_an_input_is_half_of_another_of_its_shape():
    small, large = _tied(sampled(X, 3 * X[::-1].copy()))
    assert (small.ravel()[:9] == large.ravel()[:9]).all()
    assert (small.ravel()[9:] != large.ravel()[9:]).all()


def test_an_input_with_a_domain_takes_no_other_inputs_values():
    a, b = _tied(sampled(Leaf(X, domain=(-9.0, 9.0)), Leaf(2 * X, domain=(-9.0, 9.0))))
    assert not (a == b).any()


def test_few_levels_are_numbers_of_the_input():
    coarse = _sites(sampled(X))[1].values[0]
    assert np.unique(coarse).size == LEVELS
    assert np.isin(coarse, X).all()
    nearest = np.unique(coarse)
    assert (np.abs(coarse - X) <= np.abs(nearest[:, None, None] - X).min(axis=0) + 1e-12).all()


def test_the_first_row_is_zero_and_the_others_stay():
    (zeroed,) = _sites(sampled(X))[-2].values
    assert (zeroed[0] == 0).all()
    assert (zeroed[1:] == X[1:]).all()


def test_rows_of_zeros_only_where_the_input_lies_on_both_sides_and_may_be_zero():
    for leaf in (Leaf(np.abs(X)), Leaf(X, avoids_zero=True), Leaf(X, domain=(0.0, 5.0)), Leaf(-np.abs(X))):
        assert "at rows of zeros" not in [site.said for site in _sites(sampled(leaf))]
    assert "at rows of zeros" in [site.said for site in _sites(sampled(Leaf(X, domain=(-5.0, 5.0))))]


def test_single_numbers_structures_and_long_inputs_do_not_tie():
    assert _sites(sampled(np.array(1.5))) == []
    assert _sites(sampled(Leaf(np.eye(3), structure="spd"))) == []
    assert _sites(sampled(np.zeros(LARGEST_INPUT + 1))) == []


def test_the_sample_itself_is_left_alone():
    before = X.copy()
    _sites(sampled(X, X + 0.0))
    assert np.array_equal(X, before)
