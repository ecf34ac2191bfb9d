"""The domain of a recorded input."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gradcheck.recording.seen import around, seen_in, structure_of

numbers = st.floats(-1e6, 1e6)


@given(numbers, numbers)
def test_what_the_program_used_lies_inside(a, b):
    low, high = around(min(a, b), max(a, b))
    assert low <= min(a, b)
    assert high >= max(a, b)
    assert low < high


@given(st.floats(1e-3, 1e6), st.floats(1e-3, 1e6))
def test_what_was_always_positive_stays_so(a, b):
    assert around(min(a, b), max(a, b))[0] == 0.0


def test_a_number_at_the_end_has_room_on_both_sides():
    assert around(0.0, 1.0) == (-1.0, 2.0)


def test_probabilities_stay_probabilities_and_signs_stay_signs():
    assert around(0.1, 0.9) == (0.0, 1.0)
    assert around(-3.0, -1.0)[1] == 0.0
    assert around(-2.0, 2.0) == (-6.0, 6.0)


def test_inputs_without_floating_numbers_have_no_domain():
    calls = [{"x": np.array([1.0, np.nan]), "ids": np.array([1, 2]), "y": np.array([0.5, 2.0])}]
    assert set(seen_in(calls)) == {"y"}


def test_matrices_keep_the_structure_that_all_of_them_have():
    a = np.array([[2.0, 0.3], [0.3, 1.0]])
    assert structure_of([a]) == "spd"
    assert structure_of([a, -a]) == "symmetric"
    assert structure_of([np.tril(a)]) == "lower-triangular"
    assert structure_of([a, np.array([[1.0, 2.0], [3.0, 4.0]])]) is None


def test_a_structure_by_chance_is_none():
    assert structure_of([np.eye(3)]) is None
    assert structure_of([np.ones((3, 3))]) is None
    assert structure_of([np.zeros((2, 3))]) is None
