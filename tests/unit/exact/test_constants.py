"""A constant stands for the numbers that it may have been rounded from."""

from __future__ import annotations

import math

import numpy as np
import pytest
from flint import arb
from hypothesis import assume, given
from hypothesis import strategies as st

from gradcheck.exact.balls import set_precision
from gradcheck.exact.constants import widened


def ball(number):
    set_precision()
    return widened(np.asarray(number)).value.item()


@pytest.mark.parametrize("cut", [0.3333333, 0.33333333333, 1 / 3, np.float32(1 / 3)])
def test_a_third_may_have_been_cut_anywhere(cut):
    assert ball(cut).contains(arb(1) / 3)


@pytest.mark.parametrize("cut", [np.pi, 3.1415927, np.float32(np.pi), np.float16(np.pi)])
def test_pi_may_have_been_rounded_to_any_dtype(cut):
    assert ball(cut).contains(arb.pi())


@pytest.mark.parametrize("factor", [1.0000001, 0.9999999, 1.001, np.float32(1.0000001), 2.000001])
def test_a_factor_beside_a_whole_number_is_not_that_number(factor):
    assert not ball(factor).contains(round(float(factor)))


@pytest.mark.parametrize("number", [0.0, 0.5, 3.0, -0.75, 1e6, np.float32(0.125), np.float16(2.0)])
def test_short_binary_fractions_and_whole_numbers_are_meant_as_they_are(number):
    assert ball(number).is_exact()


def test_a_decimal_of_few_digits_is_meant_but_for_its_binary_form():
    assert ball(0.3).contains(arb(3) / 10)
    assert not ball(0.3).contains(arb("0.30001"))


@given(st.floats(1e-3, 1e3))
def test_every_double_stands_for_what_it_was_rounded_from(number):
    near = ball(number)
    assert near.contains(arb(number))
    assert float(near.rad()) <= 1e-6 * abs(number)


@given(st.fractions(1, 10))
def test_a_quotient_lies_in_the_ball_of_its_single(fraction):
    single = ball(np.float32(float(fraction)))
    assume(not single.is_exact())
    assert single.contains(arb(fraction.numerator) / fraction.denominator)


def test_what_is_no_number_stays_as_it_is():
    assert not ball(math.inf).is_finite()
