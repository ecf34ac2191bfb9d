"""Long arrays are measured and compared in parts, as short ones are at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gradcheck.numerics.chunks import PART
from gradcheck.numerics.closeness import close, largest, wide, worst_first

numbers = arrays(np.float64, st.integers(0, 40), elements=st.floats(allow_nan=True, allow_infinity=True, width=64))


@given(numbers)
def test_the_largest_is_that_of_the_finite_ones(a):
    assert largest(a) == max((abs(x) for x in a if np.isfinite(x)), default=0.0)


def test_the_largest_of_a_long_array_is_found_in_any_part():
    for place in (0, PART - 1, PART, 3 * PART):
        a = np.zeros(3 * PART + 1, np.float32)
        a[place] = -7
        assert largest(a) == 7
        assert largest(a, among=a == 0) == 0


def test_half_precision_and_complex_numbers_are_widened():
    assert wide(np.ones(2, np.float16)).dtype == np.float64
    assert wide(np.ones(2, np.complex64)).dtype == np.complex128
    assert largest(np.array([3 + 4j])) == 5


@pytest.mark.parametrize("place", [0, PART - 1, PART, 2 * PART])
def test_one_element_apart_is_seen_in_any_part(place):
    a = np.ones(2 * PART + 1)
    b = a.copy()
    b[place] += 1e-3
    assert close(b, a, 2e-3)
    assert close(b, a, 0.0, 2e-3)
    assert not close(b, a, 1e-4, 1e-4)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_has_to_be_so_in_both_or_is_left_out(odd):
    a, b = np.array([1.0, 2.0]), np.array([1.0, odd])
    assert not close(b, a, 1e-3)
    assert not close(a, b, 1e-3)
    assert close(b, b, 1e-3)
    assert close(b, a, 1e-3, finite_only=True)


@given(numbers)
def test_an_array_is_close_to_itself(a):
    assert close(a, a, 0.0)


def test_nothing_is_close_to_nothing():
    assert close(np.zeros((0, 3)), np.zeros((0, 3)), 0.0)


def test_the_worst_places_come_first_and_what_is_no_number_before_them():
    found = np.array([1.0, 2.5, np.nan, 4.0, 9.0])
    wanted = np.array([1.0, 2.0, 3.0, 3.5, 5.0])
    chosen = np.array([True, True, True, True, False])
    assert worst_first(chosen, found, wanted).tolist() == [2, 1, 3, 0]
    assert worst_first(chosen, found, wanted, 2).tolist() == [2, 1]
