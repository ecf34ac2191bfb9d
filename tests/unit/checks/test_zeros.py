"""A gradient is right where one number is zero, on ops of four lines of NumPy."""

from __future__ import annotations

import numpy as np

from gradcheck.checks import zeros
from tests.unit.checks.numpy_lab import found_by, lab_of

X = np.random.default_rng(6).normal(size=(4, 3))


def product(x):
    return x.prod(-1)


def by_the_others(x, u):
    others = [np.delete(x, i, -1).prod(-1) for i in range(x.shape[-1])]
    return np.stack(others, -1) * u[..., None]


def by_division(x, u):
    with np.errstate(all="ignore"):
        return np.where(x == 0, 0.0, (product(x) * u)[..., None] / x)


def test_a_product_of_the_others_is_right_at_zero():
    assert found_by(zeros.CHECK, lab_of(product, by_the_others, by_the_others, X)) == []


def test_a_product_that_divides_is_wrong_at_zero_whatever_autodiff_says():
    assert found_by(zeros.CHECK, lab_of(product, by_division, by_division, X)) == ["gradient-mismatch/elements"]


def test_a_kink_at_zero_decides_nothing():
    assert found_by(zeros.CHECK, lab_of(np.abs, lambda x, u: np.sign(x) * u, lambda x, u: np.sign(x) * u, X)) == []


def test_a_declared_gradient_is_left_out():
    lab = lab_of(product, by_division, by_division, X, surrogate="other")
    assert found_by(zeros.CHECK, lab) is None
