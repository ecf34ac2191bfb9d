"""Integers are drawn anew, and then only the least and the largest of them are used."""

from __future__ import annotations

import numpy as np

from gradcheck.sites.integers import other_integers
from gradcheck.verdict.tolerances import INTEGER_DRAWS, INTEGERS_TRIED
from tests.unit.sites.ops import Leaf, sampled

X = np.linspace(-1.0, 2.0, 4)
LABELS = np.array([0, 1, 2, 3])


def _op(*draws, labels=LABELS):
    return sampled(X, labels, redrawn=[[Leaf(X + 1), Leaf(np.asarray(draw))] for draw in draws])


def _labels(op):
    return [site.values[1].tolist() for site in other_integers(op)]


def test_integers_are_other_ones_and_floats_stay():
    sites = list(other_integers(_op([3, 2, 1, 0], [5, 5, 1, 1])))
    assert [s.values[1].tolist() for s in sites[:2]] == [[3, 2, 1, 0], [5, 5, 1, 1]]
    assert all(s.values[0] is X for s in sites)
    assert not any(s.resized for s in sites)


def test_the_last_site_holds_the_least_and_the_largest_alone():
    last = _labels(_op([3, 2, 1, 0], [5, 5, 1, 1]))[-1]
    assert set(last) <= {0, 5}


def test_a_draw_that_was_seen_is_not_tried_again():
    assert len(_labels(_op([3, 2, 1, 0], [3, 2, 1, 0], [0, 1, 2, 3]))) == 2


def test_few_draws_are_tried():
    draws = [[n, n, n, n + 1] for n in range(INTEGER_DRAWS)]
    assert len(_labels(_op(*draws))) <= INTEGERS_TRIED + 1


def test_integers_that_are_given_and_floats_alone_have_no_others():
    assert _labels(_op([0, 1, 2, 3], [0, 1, 2, 3])) == []
    assert list(other_integers(sampled(X, redrawn=[[Leaf(X + 1)]]))) == []
    assert _labels(_op()) == []


def test_truth_values_are_drawn_too():
    assert _labels(_op([True, True, False, False], labels=np.array([False, True, False, True])))
