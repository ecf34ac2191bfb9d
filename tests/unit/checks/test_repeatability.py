"""A gradient is the same twice, on ops of four lines of NumPy."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest

from gradcheck.checks import repeatability
from gradcheck.results import Finding
from tests.unit.checks.numpy_lab import found_by, lab_of

X = np.random.default_rng(3).normal(size=(4, 3))


@pytest.fixture(autouse=True)
def nothing_in_between(monkeypatch):
    """Ask only whether two runs agree: what comes between them needs TensorFlow's tape."""
    monkeypatch.setattr(repeatability, "DISTURBANCES", ())


def slope(x, u):
    return np.cos(x) * u


def after(calls, vjp):
    """Return a vjp that is another one after some calls."""
    number = count()
    return lambda x, u: slope(x, u) if next(number) < calls else vjp(x, u)


def test_the_same_gradient_twice_is_right():
    assert found_by(repeatability.CHECK, lab_of(np.sin, slope, slope, X)) == []


def test_another_gradient_the_second_time_is_not_deterministic():
    lab = lab_of(np.sin, after(1, lambda x, u: 1.5 * slope(x, u)), slope, X)
    assert found_by(repeatability.CHECK, lab) == ["nondeterministic"]


def test_the_last_digit_of_a_second_run_is_rounding():
    lab = lab_of(np.sin, after(1, lambda x, u: slope(x, u) * (1 + 1e-7)), slope, X)
    assert found_by(repeatability.CHECK, lab) == []


def test_another_value_the_second_time_is_said_of_the_forward():
    number = count()
    lab = lab_of(lambda x: np.sin(x) + (next(number) > 1), slope, slope, X)
    [finding] = repeatability.ask(lab, [])
    assert finding.code == "nondeterministic"
    assert finding.message.startswith("the forward value differs")


def test_a_broken_shape_makes_it_pointless():
    lab = lab_of(np.sin, slope, slope, X)
    found = [Finding("gradient-shape", "", level="error")]
    assert repeatability.CHECK.reason_to_skip(lab, found) == "gradient-shape was found before"
