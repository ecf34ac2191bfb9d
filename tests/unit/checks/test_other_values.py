"""Ordinary and large values beside the sample, on ops of four lines of NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.checks import CHECKS
from gradcheck.checks.nearby import compare, region_nearby
from tests.unit.checks.numpy_lab import found_by, lab_of

X = np.random.default_rng(8).normal(size=(4, 3))
BY_NAME = {check.name: check for check in CHECKS}


def square(x):
    return x * x


def slope(x, u):
    return 2 * x * u


def clipped(x, u):
    return 2 * np.clip(x, -0.5, 0.5) * u


@pytest.mark.parametrize("name", ["other values", "values far away", "special numbers", "single zeros", "conditions"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_right_gradient_is_right_elsewhere(name, dtype):
    with np.errstate(all="ignore"):
        assert found_by(BY_NAME[name], lab_of(square, slope, slope, X, dtype=dtype)) == []


@pytest.mark.parametrize("name", ["other values", "values far away", "special numbers"])
def test_a_kink_that_is_right_on_both_sides_is_not_blamed(name):
    def relu_slope(x, u):
        return (x > 0) * u

    with np.errstate(all="ignore"):
        assert found_by(BY_NAME[name], lab_of(lambda x: np.maximum(x, 0), relu_slope, relu_slope, X)) == []


def test_an_op_without_a_gradient_of_its_own_is_left_out():
    lab = lab_of(square, slope, slope, X)
    lab.custom = False
    assert found_by(BY_NAME["other values"], lab) is None


def test_the_range_in_which_a_gradient_is_wrong_is_named():
    lab = lab_of(square, clipped, slope, 0.4 * np.tanh(X))
    region = region_nearby(lab, lab.slots[0])
    assert region is not None
    assert "0.5" in region


def test_a_gradient_that_is_right_has_no_such_range():
    lab = lab_of(square, slope, slope, X)
    assert region_nearby(lab, lab.slots[0]) is None


def test_wrong_and_right_coordinates_are_told_apart():
    lab = lab_of(square, clipped, slope, X)
    x = np.linspace(-1, 1, X.size)
    wrong, right = compare(lab, x)
    assert np.array_equal(wrong, np.abs(x) > 0.5)
    assert not np.any(wrong & right)
