"""Far from the sample every magnitude of both signs is met, inside the domain, and so are zeros."""

from __future__ import annotations

import numpy as np

from gradcheck.sites.magnitudes import magnitudes
from gradcheck.verdict.tolerances import COORDINATES_MOVED, JITTER, MAGNITUDES
from tests.unit.sites.ops import Leaf, sampled

X = np.linspace(-1.0, 2.0, 8)


def _points(op):
    return np.array([site.x for site in magnitudes(op)])


def _met(points, sign):
    return [m for m in MAGNITUDES if np.any(np.abs(points * sign / m - 1) <= JITTER)]


def test_every_magnitude_of_both_signs_is_met():
    points = _points(sampled(X))
    assert _met(points, 1.0) == _met(points, -1.0) == list(MAGNITUDES)


def test_magnitudes_stay_inside_the_domain():
    points = _points(sampled(Leaf(X + 2.0, domain=(0.0, 20.0))))[2:]
    assert (points > 0).all()
    assert (points < 20).all()
    assert len(_met(points, 1.0)) > 5


def test_a_sign_that_has_a_meaning_stays():
    op = sampled(X, parameters=np.array([0, 7]))
    points = _points(op)[:-2]
    assert (points[:, 0] < 0).all()
    assert (points[:, 7] > 0).all()


def test_the_last_sites_hold_zeros_at_some_coordinates_and_at_all():
    some, every = _points(sampled(X))[-2:]
    assert 0 < (some == 0).sum() < X.size
    assert (some[some != 0] == X[some != 0]).all()
    assert (every == 0).all()


def test_an_input_that_avoids_zero_or_whose_domain_does_is_never_zero():
    assert (_points(sampled(Leaf(X, avoids_zero=True))) != 0).all()
    assert (_points(sampled(Leaf(X + 2.0, domain=(0.0, np.inf), avoids_zero=True))) > 0).all()


def test_the_ends_of_a_domain_come_first():
    first, second, *others = _points(sampled(Leaf(X, domain=(-3.0, 5.0))))
    assert set(first) == set(second) == {-3.0, 5.0}
    assert (first != second).all()
    assert all(((x > -3.0) & (x < 5.0)).all() for x in others)


def test_the_ends_of_what_is_drawn_come_first_too():
    first, second, *_ = _points(sampled(Leaf(X, ends=(0.0, 1.0))))
    assert set(first) == set(second) == {0.0, 1.0}


def test_an_end_that_is_to_be_avoided_is_not_tried():
    first, second, *_ = _points(sampled(Leaf(X, ends=(-np.inf, 1.0))))
    assert set(first) - set(X) == set(second) - set(X) == {1.0}


def test_plain_ops_are_not_tried_at_zero():
    assert (_points(sampled(X, custom=False)) != 0).all()


def test_of_a_long_input_few_coordinates_move_at_once():
    x = np.ones(40 * COORDINATES_MOVED)
    moved = (_points(sampled(x, custom=False)) != x).sum(axis=1)
    assert (moved <= COORDINATES_MOVED).all()
    assert moved.max() == COORDINATES_MOVED


def test_structured_inputs_stay():
    matrix = np.eye(3)
    points = _points(sampled(Leaf(matrix, structure="symmetric"), X))
    assert (points[:, :6] == sampled(Leaf(matrix, structure="symmetric")).vector()).all()
    assert list(magnitudes(sampled(Leaf(matrix, structure="symmetric")))) == []
