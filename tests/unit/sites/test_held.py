"""Numbers that are not differentiated take others of their domain, and only of it."""

from __future__ import annotations

import numpy as np

from gradcheck.sites.held import other_held
from gradcheck.verdict.tolerances import HELD_DRAWS
from tests.unit.sites.ops import Leaf, sampled

X, ONE = np.linspace(-1.0, 2.0, 4), np.array(1.0, np.float32)


def _held(leaf):
    return list(other_held(sampled(X, leaf)))


def test_a_temperature_takes_other_numbers_of_its_domain():
    sites = _held(Leaf(ONE, domain=(0.5, 20.0), differentiated=False))
    assert len(sites) == HELD_DRAWS
    assert all(site.values[0] is X and site.values[1].dtype == np.float32 for site in sites)
    assert all(0.5 <= site.values[1] <= 20.0 and site.values[1] != 1.0 for site in sites)


def test_a_domain_without_an_end_stays_near_the_number():
    assert all(0.0 <= site.values[1] <= 3.0 for site in _held(Leaf(ONE, domain=(0.0, np.inf), differentiated=False)))


def test_without_a_domain_a_number_stays_what_it_is():
    assert _held(Leaf(ONE, differentiated=False)) == []


def test_weights_of_ones_become_some_of_both():
    (site,) = _held(Leaf(np.ones((2, 4, 1)), differentiated=False))
    assert site.values[1][..., 0].tolist() == [[1, 1, 0, 0]] * 2


def test_rows_of_one_class_stay_so():
    assert _held(Leaf(np.eye(3), differentiated=False)) == []


def test_what_is_differentiated_is_moved_elsewhere():
    assert _held(Leaf(ONE, domain=(0.5, 20.0))) == []
