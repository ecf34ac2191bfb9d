"""Integers are drawn anew, and then only the least and the largest of them are used."""

from __future__ import annotations

import numpy as np

from gradcheck.sites.integers import other_integers
from gradcheck.verdict.tolerances import INTEGER_DRAWS, INTEGERS_TRIED
from tests.unit.sites.ops import Leaf, sampled

X = np.linspace(-1.0, 2.0, 4)
LABELS = np.array([0, 1, 2, 3])
EXTREMES = 2


def _op(*draws, labels=LABELS):
    return sampled(X, labels, redrawn=[[Leaf(X + 1), Leaf(np.asarray(draw))] for draw in draws])


def _labels(op):
    return [site.values[1].tolist() for site in other_integers(op)]


def test_integers_are_other_ones_and_floats_stay():
    sites = list(other_integers(_op([3, 2, 1, 0], [5, 5, 1, 1])))
    assert [s.values[1].tolist() for s in sites[:2]] == [[3, 2, 1, 0], [5, 5, 1, 1]]
    assert all(s.values[0] is X for s in sites)
    assert not any(s.resized for s in sites)


def test_the_last_sites_hold_the_least_and_the_largest_alone_each_at_every_place():
    one, other = _labels(_op([3, 2, 1, 0], [5, 5, 1, 1]))[-EXTREMES:]
    assert [{a, b} for a, b in zip(one, other, strict=True)] == [{0, 5}] * 4


def test_the_ends_of_a_declared_range_are_tried_though_no_draw_holds_them():
    op = _op([3, 2, 1, 0], [5, 5, 1, 1])
    op.leaves[1].whole_range = (-1, 40)
    assert {number for site in list(other_integers(op))[-EXTREMES:] for number in site.values[1]} == {-1, 40}


def test_a_draw_that_was_seen_is_not_tried_again():
    assert len(_labels(_op([3, 2, 1, 0], [3, 2, 1, 0], [0, 1, 2, 3]))) == 1 + EXTREMES


def test_few_draws_are_tried():
    draws = [[n, n, n, n + 1] for n in range(INTEGER_DRAWS)]
    assert len(_labels(_op(*draws))) <= INTEGERS_TRIED + EXTREMES


def test_sorted_integers_that_are_given_and_floats_alone_have_no_others():
    assert _labels(_op([0, 1, 2, 3], [0, 1, 2, 3])) == []
    assert list(other_integers(sampled(X, redrawn=[[Leaf(X + 1)]]))) == []
    assert _labels(_op()) == []


def test_integers_that_are_given_change_places_and_keep_their_numbers():
    given = np.array([3, 0, 1, 1])
    found = _labels(_op(given, labels=given))
    assert [1, 1, 0, 3] in found
    assert all(set(labels) <= {0, 1, 3} for labels in found)


def test_integers_that_are_given_come_twice_and_not_at_all():
    given = np.array([5, 3, 1, 0])
    assert any(len(set(labels)) < 4 for labels in _labels(_op(given, labels=given)))


def test_of_an_order_of_places_none_comes_twice():
    order = np.array([2, 0, 3, 1])
    assert all(sorted(labels) == [0, 1, 2, 3] for labels in _labels(_op(order, labels=order)))


def test_rows_of_pairs_stay_together():
    pairs = np.array([[0, 1], [2, 0], [1, 2]])
    found = _labels(_op(pairs, labels=pairs))
    assert found
    assert all(row in pairs.tolist() for rows in found for row in rows)


def test_sorted_integers_that_are_given_stay_sorted():
    assert _labels(_op(np.array([0, 0, 1, 2]), labels=np.array([0, 0, 1, 2]))) == []


def test_integers_that_are_all_the_same_become_two_kinds_in_ascending_order():
    ones = np.array([1, 1, 1, 1])
    assert _labels(_op(ones, labels=ones)) == [[0, 0, 1, 1]]
    lengths = np.array([5, 5, 5, 5])
    assert _labels(_op(lengths, labels=lengths)) == [[4, 4, 5, 5]]
    zeros = np.array([0, 0, 0, 0])
    assert _labels(_op(zeros, labels=zeros)) == [[0, 0, 1, 1]]
    assert _labels(_op(-ones, labels=-ones)) == []


def test_a_mask_that_is_given_is_turned_over():
    mask = np.array([True, True, False, True])
    assert [False, False, True, False] in _labels(_op(mask, labels=mask))


def test_a_mask_that_is_true_everywhere_is_turned_over_in_part():
    mask = np.array([True, True, True, True])
    assert _labels(_op(mask, labels=mask)) == [[True, True, False, False]]


def test_truth_values_are_drawn_too():
    assert _labels(_op([True, True, False, False], labels=np.array([False, True, False, True])))
