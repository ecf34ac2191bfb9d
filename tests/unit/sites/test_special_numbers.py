"""Infinities, subnormal numbers and minus zero are put into each input, inside its domain."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.sites.special_numbers import special_numbers
from tests.unit.sites.ops import Leaf, sampled

X = np.linspace(-1.0, 2.0, 4).astype(np.float32)


@pytest.fixture(autouse=True)
def named(monkeypatch):
    monkeypatch.setattr(Leaf, "name", "x", raising=False)


def first(op):
    return [site.values[0].reshape(-1)[0] for site in special_numbers(op)]


def test_both_infinities_and_the_least_numbers_are_tried_in_the_dtype_of_the_input():
    found = first(sampled(X))
    assert np.inf in found
    assert -np.inf in found
    assert np.finfo(np.float32).smallest_normal in found
    assert np.finfo(np.float32).smallest_subnormal in found
    assert any(number == 0 and np.signbit(number) for number in found)
    assert all(number.dtype == np.float32 for number in found)


def test_nothing_leaves_a_domain():
    assert all(0 < number < 3 for number in first(sampled(Leaf(X + 2.0, domain=(0.0, 3.0)))))
    assert not [number for number in first(sampled(Leaf(X + 2.0, domain=(0.0, np.inf)))) if np.isinf(number)]


def test_inputs_that_keep_away_from_zero_do_so():
    assert [abs(number) for number in first(sampled(Leaf(X, avoids_zero=True)))] == [np.inf, np.inf]


def test_structured_and_whole_inputs_are_left_alone():
    assert not first(sampled(Leaf(np.eye(2, dtype=np.float32), structure="spd")))
    assert not first(sampled(np.arange(3)))
