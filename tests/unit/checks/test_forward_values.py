"""The values of an op beside those of its reference, on ops of four lines of NumPy."""

from __future__ import annotations

import numpy as np

from gradcheck.checks import forward_values
from tests.unit.checks.numpy_lab import found_by, lab_of

X = np.random.default_rng(8).normal(size=(4, 3))


def slope(x, u):
    return np.cos(x) * u


def beside(reference):
    """Return a lab of the sine with another function as its reference."""
    lab = lab_of(np.sin, slope, slope, X, reference="other")
    lab.other = lab_of(reference, slope, slope, X).precision
    return lab


def test_the_same_values_are_right():
    assert found_by(forward_values.CHECK, beside(np.sin)) == []


def test_the_same_function_by_another_formula_is_right():
    assert found_by(forward_values.CHECK, beside(lambda x: np.cos(np.pi / 2 - x))) == []


def test_values_that_are_a_little_larger_are_a_mismatch():
    assert found_by(forward_values.CHECK, beside(lambda x: 1.001 * np.sin(x))) == ["value-mismatch"]


def test_one_element_that_differs_is_told_with_both_values():
    [finding] = forward_values.ask(beside(lambda x: np.where(x == x.max(), 2.0, np.sin(x))), [])
    assert "where `other` gives 2 (1 of 12 elements differ)" in finding.message


def test_without_a_reference_there_is_nothing_to_compare():
    assert found_by(forward_values.CHECK, lab_of(np.sin, slope, slope, X)) is None
