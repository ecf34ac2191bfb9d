"""What the own dtype leaves to chance: sums that cancel share it, steps do not."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from gradcheck.measure.noise import _shared, _without_steps

WHOLE = [slice(0, 4)]
DIGITS = float(np.sqrt(2.0**-24))


def test_a_sum_that_cancels_to_zero_by_luck_has_the_noise_of_those_that_do_not():
    own = np.array([0.0, 3e-8, 0.0, 1e-8])
    moved = np.array([0.0, 2e-8, 0.0, 1e-8])
    assert _shared(moved, own, WHOLE).tolist() == [2e-8] * 4


def test_what_is_larger_does_not_lend_its_noise_to_what_is_smaller():
    own = np.array([1e-3, 2.0, 3.0, 1e6])
    moved = np.array([1e-11, 0.0, 1e-7, 0.1])
    assert _shared(moved, own, WHOLE).tolist() == [1e-11, 1e-7, 1e-7, 0.1]


def test_a_step_is_no_rounding():
    own = np.array([0.0, 1.0, 1.0, 1.0])
    moved = np.array([1.0, 1e-7, 0.0, np.inf])
    assert _without_steps(moved, own, DIGITS, 1.0, WHOLE).tolist() == [0.0, 1e-7, 0.0, 0.0]


def test_where_all_is_rounding_what_comes_in_tells_a_step():
    own = np.array([0.0, 1e-8, 0.0, 0.0])
    moved = np.array([6e-8, 6e-8, 0.5, 0.0])
    assert _without_steps(moved, own, DIGITS, 1.0, WHOLE).tolist() == [6e-8, 6e-8, 0.0, 0.0]


def test_slots_do_not_share():
    own, moved = np.zeros(4), np.array([1e-8, 0.0, 0.0, 0.0])
    assert _shared(moved, own, [slice(0, 2), slice(2, 4)]).tolist() == [1e-8, 1e-8, 0.0, 0.0]
