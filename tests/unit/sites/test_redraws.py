"""Near the sample other draws are tried, a fine grid, and both sides of the op's constants."""

from __future__ import annotations

import numpy as np

from gradcheck.sites.redraws import redraws_and_grid
from gradcheck.verdict.tolerances import BESIDE_CONSTANTS, GRID_REACH, GRID_STEP, ORDINARY_SITES, REDRAWS
from tests.unit.sites.ops import Leaf, sampled

X = np.linspace(-1.0, 2.0, 16)


def _points(op):
    return np.array([site.x for site in redraws_and_grid(op)])


def test_every_step_of_the_grid_is_met():
    met = np.floor((_points(sampled(X)) + GRID_REACH) / GRID_STEP).astype(int)
    assert set(range(int(2 * GRID_REACH / GRID_STEP))) <= set(met.ravel())


def test_both_sides_of_a_constant_are_met_with_either_sign():
    points = _points(sampled(X, constants=(1.75,)))
    for d in BESIDE_CONSTANTS:
        for sign in (1.0, -1.0):
            assert np.isclose(points, sign * (1.75 + d), rtol=0, atol=1e-12).any(), (d, sign)


def test_the_draws_come_first():
    again = [[Leaf(X + number)] for number in range(1, REDRAWS + 3)]
    points = _points(sampled(X, redrawn=again))
    assert np.array_equal(points[:REDRAWS], np.array([X + number for number in range(1, REDRAWS + 1)]))
    assert len(points) <= ORDINARY_SITES


def test_a_draw_that_is_the_sample_again_is_left_out():
    plain, again = _points(sampled(X)), _points(sampled(X, redrawn=[[Leaf(X)]] * REDRAWS))
    assert np.array_equal(plain, again)


def test_points_stay_inside_the_domain_and_signs_of_parameters_stay():
    points = _points(sampled(Leaf(X + 2.0, domain=(0.0, 4.5)), parameters=np.array([3])))
    assert ((points > 0) & (points < 4.5)).all()
    assert (_points(sampled(X, parameters=np.array([0])))[:, 0] < 0).all()


def test_a_structured_input_alone_has_no_other_points():
    assert _points(sampled(Leaf(np.eye(2), structure="spd"))).size == 0
