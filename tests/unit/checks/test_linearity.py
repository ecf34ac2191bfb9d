"""A gradient is linear in its upstream, on ops of four lines of NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.checks import linearity
from tests.unit.checks.numpy_lab import found_by, lab_of

X = np.random.default_rng(3).normal(size=(4, 3))


def slope(x, u):
    return np.cos(x) * u


def found(vjp):
    return found_by(linearity.CHECK, lab_of(np.sin, vjp, slope, X))


def test_a_linear_gradient_is_not_blamed():
    assert found(slope) == []


@pytest.mark.parametrize(
    "vjp",
    [
        lambda x, u: np.cos(x) * u * u,
        lambda x, u: np.cos(x) * np.abs(u),
        lambda x, u: np.cos(x) * u + 0.1,
        lambda x, u: np.cos(x) * np.clip(u, -0.5, 0.5),
    ],
)
def test_a_gradient_that_is_not_linear_is_blamed(vjp):
    assert "upstream-nonlinear/nonlinear" in found(vjp)


def test_a_gradient_that_divides_by_the_upstream_is_no_number_for_a_zero_one():
    with np.errstate(all="ignore"):
        assert found(lambda x, u: np.cos(x) * u / np.linalg.norm(u)) == ["gradient-nonfinite"]


def test_a_large_and_a_small_upstream_keep_their_digits():
    assert found(lambda x, u: np.cos(x) * (u * 1e-3) * 1e3) == []
