"""A gradient survives loss scaling, on ops of four lines of NumPy in half precision."""

from __future__ import annotations

import numpy as np

from gradcheck.checks import loss_scaling
from tests.unit.checks.numpy_lab import found_by, lab_of

X = np.full((4, 3), 2.0)


def found(vjp, dtype="float16"):
    with np.errstate(all="ignore"):
        lab = lab_of(lambda x: x * x, vjp, lambda x, u: u * (2 * x), X, dtype=dtype)
        lab.upstream = tuple(np.full_like(u, 0.25) for u in lab.upstream)
        return found_by(loss_scaling.CHECK, lab)


def test_an_upstream_that_is_multiplied_last_survives():
    assert found(lambda x, u: u * (2 * x)) == []


def test_an_upstream_that_is_squared_away_overflows():
    assert found(lambda x, u: (u * np.float16(64.0)) * x * np.float16(2.0 / 64.0)) == ["gradient-nonfinite"]


def test_what_overflows_in_autodiff_too_is_not_blamed():
    assert found(lambda x, u: u * (2 * x)) == []


def test_in_single_precision_nothing_is_looked_at():
    assert found(lambda x, u: u * (2 * x), dtype="float32") is None
