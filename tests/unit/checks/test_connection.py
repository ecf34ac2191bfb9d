"""An op whose inputs nothing reaches is told, on ops of four lines of NumPy."""

from __future__ import annotations

import numpy as np

from gradcheck.checks import connection
from tests.unit.checks.numpy_lab import found_by, lab_of

X = np.random.default_rng(1).normal(size=(4, 3))


def nothing(x, u):
    return np.zeros_like(x)


def test_an_output_that_depends_on_the_input_is_connected():
    assert found_by(connection.CHECK, lab_of(np.sin, lambda x, u: np.cos(x) * u, None, X)) == []


def test_an_output_that_depends_on_nothing_is_unconnected():
    lab = lab_of(lambda x: np.ones_like(x), nothing, nothing, X)
    assert found_by(connection.CHECK, lab) == ["unconnected"]


def test_an_output_through_which_no_gradient_comes_is_told():
    assert found_by(connection.CHECK, lab_of(np.sin, nothing, nothing, X)) == ["no-gradient"]


def test_a_gradient_that_is_zero_at_the_sample_alone_is_none_of_them():
    def relu(x):
        return np.maximum(x, 0.0)

    lab = lab_of(relu, lambda x, u: (x > 0) * u, lambda x, u: (x > 0) * u, -np.abs(X))
    assert found_by(connection.CHECK, lab) == []


def test_what_the_case_declares_is_left_out():
    lab = lab_of(np.sin, nothing, nothing, X, surrogate="other")
    assert found_by(connection.CHECK, lab) is None
