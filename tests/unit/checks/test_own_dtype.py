"""A gradient keeps its digits in the op's own dtype, on ops of four lines of NumPy."""

from __future__ import annotations

import numpy as np

from gradcheck.checks import own_dtype
from tests.unit.checks.numpy_lab import found_by, lab_of

X = np.random.default_rng(5).normal(size=(4, 3))


def slope(x, u):
    return np.cos(x) * u


def found(vjp):
    with np.errstate(all="ignore"):
        return found_by(own_dtype.CHECK, lab_of(np.sin, vjp, slope, X))


def test_a_gradient_that_is_only_rounded_is_not_blamed():
    assert found(slope) == []


def test_digits_that_are_lost_by_a_detour_through_a_large_number_are_told():
    def detour(x, u):
        large = np.asarray(1e5, x.dtype)
        return ((np.cos(x) + large) - large) * u

    assert [label.split("/")[0] for label in found(detour)] == ["precision-loss"]


def test_what_overflows_in_single_precision_alone_is_told():
    def overflows(x, u):
        large = np.asarray(1e30, x.dtype)
        return np.cos(x) * large * large * u / large / large

    assert [label.split("/")[0] for label in found(overflows)] == ["gradient-nonfinite"]
