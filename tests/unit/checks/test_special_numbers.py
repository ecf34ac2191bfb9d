"""A gradient is a number where value and autodiff are, on ops of four lines of NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.checks import special_numbers
from tests.unit.checks.numpy_lab import found_by, lab_of

X = np.random.default_rng(4).normal(size=(4, 3))


def found(forward, vjp, true):
    with np.errstate(all="ignore"):
        return found_by(special_numbers.CHECK, lab_of(forward, vjp, true, X))


def test_a_gradient_that_is_a_number_everywhere_is_not_blamed():
    assert found(np.tanh, lambda x, u: (1 - np.tanh(x) ** 2) * u, lambda x, u: u / np.cosh(x) ** 2) == []


@pytest.mark.parametrize("vjp", [lambda x, u: u * x / x, lambda x, u: u * (x / np.abs(x)) ** 2])
def test_a_gradient_that_divides_by_zero_is_blamed(vjp):
    assert found(lambda x: x, vjp, lambda x, u: u) == ["gradient-nonfinite"]


def test_where_the_value_is_no_number_nothing_is_said():
    with np.errstate(all="ignore"):
        assert found(lambda x: x / x, lambda x, u: u * x / x, lambda x, u: 0 * u) == []


def test_where_autodiff_is_no_number_either_nothing_is_said():
    assert found(lambda x: x, lambda x, u: u * x / x, lambda x, u: u * x / x) == []


def test_an_op_without_a_custom_gradient_is_left_out():
    lab = lab_of(lambda x: x, lambda x, u: u, lambda x, u: u, X)
    lab.custom = False
    assert found_by(special_numbers.CHECK, lab) is None
