"""The gradient of one mode beside that of the others, on ops of four lines of NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.checks import modes
from tests.unit.checks.numpy_lab import found_by, lab_of, no_graph

X = np.random.default_rng(2).normal(size=(4, 3))


def slope(x, u):
    return np.cos(x) * u


def in_mode(mode, vjp):
    return lab_of(np.sin, slope, slope, X, in_way={mode: vjp})


def test_modes_that_agree_are_not_blamed():
    assert found_by(modes.CHECK, lab_of(np.sin, slope, slope, X)) == []


@pytest.mark.parametrize("mode", ["function", "xla"])
def test_another_gradient_in_one_mode_is_a_mismatch_of_modes(mode):
    found = found_by(modes.CHECK, in_mode(mode, lambda x, u: 1.01 * slope(x, u)))
    assert found
    assert {label.split("/")[0] for label in found} == {"mode-mismatch"}


def test_the_last_digit_of_a_mode_is_rounding():
    assert found_by(modes.CHECK, in_mode("xla", lambda x, u: slope(x, u) * (1 + 1e-7))) == []


def test_a_mode_that_raises_is_unsupported():
    assert "mode-unsupported" in found_by(modes.CHECK, in_mode("xla", no_graph))


def test_a_gradient_that_is_no_number_in_one_mode_is_told():
    found = found_by(modes.CHECK, in_mode("function", lambda x, u: slope(x, u) * np.nan))
    assert found
    assert {label.split("/")[0] for label in found} <= {"mode-mismatch", "gradient-nonfinite"}


def test_one_mode_alone_has_nothing_beside_it():
    assert found_by(modes.CHECK, lab_of(np.sin, slope, slope, X, modes=("eager",))) == []
