"""The gradient against finite differences and autodiff, on ops of four lines of NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.checks import slopes
from tests.unit.checks.numpy_lab import found_by, lab_of

X = np.random.default_rng(0).normal(size=(4, 3))


def square(x):
    return x * x


def slope_of_square(x, u):
    return 2 * x * u


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def slope_of_softmax(x, u):
    p = softmax(x)
    return p * (u - (u * p).sum(-1, keepdims=True))


def test_a_right_gradient_is_not_blamed():
    assert found_by(slopes.CHECK, lab_of(square, slope_of_square, slope_of_square, X)) == []
    assert found_by(slopes.CHECK, lab_of(softmax, slope_of_softmax, slope_of_softmax, X)) == []


@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        (lambda x, u: 3 * x * u, "constant-factor"),
        (lambda x, u: -2 * x * u, "sign-flip"),
        (lambda x, u: 0 * x, "zero"),
        (lambda x, u: u, "bypassed"),
        (lambda x, u: 2 * x * u * (x > 0), "region"),
    ],
)
def test_a_wrong_gradient_of_a_square_is_blamed_and_named(wrong, cause):
    assert found_by(slopes.CHECK, lab_of(square, wrong, slope_of_square, X)) == [f"gradient-mismatch/{cause}"]


def test_a_softmax_without_its_sum_lacks_a_term():
    wrong = lab_of(softmax, lambda x, u: softmax(x) * u, slope_of_softmax, X)
    assert found_by(slopes.CHECK, wrong) == ["gradient-mismatch/missing-term"]


def test_a_gradient_that_is_rounded_to_its_dtype_is_not_blamed():
    def rounded(x, u):
        return (2 * x * u).astype(np.float32)

    assert found_by(slopes.CHECK, lab_of(square, rounded, slope_of_square, X)) == []


def test_a_gradient_that_is_no_number_is_blamed():
    def broken(x, u):
        return np.where(x > 0, 2 * x * u, np.nan)

    assert found_by(slopes.CHECK, lab_of(square, broken, slope_of_square, X)) == ["gradient-nonfinite"]


def test_an_op_without_a_floating_output_is_left_out():
    lab = lab_of(lambda x: [], lambda x: np.zeros_like(x), lambda x: np.zeros_like(x), X)
    assert found_by(slopes.CHECK, lab) is None


def test_weights_that_get_the_gradient_of_the_first_row_alone_lack_the_others():
    def forward(x, w):
        return np.sin(x @ w)

    def true(x, w, u):
        inner = u * np.cos(x @ w)
        return inner @ w.T, x.T @ inner

    def first_row(x, w, u):
        inner = u * np.cos(x @ w)
        return inner @ w.T, x[:1].T @ inner[:1]

    w = np.random.default_rng(1).normal(size=(3, 2))
    assert found_by(slopes.CHECK, lab_of(forward, true, true, X, w)) == []
    assert found_by(slopes.CHECK, lab_of(forward, first_row, true, X, w)) == ["gradient-mismatch/missing-term"]


def test_a_factor_that_depends_on_the_inputs_is_no_constant_one():
    def energy(x):
        return np.sum(x * x)

    def slope(x, u):
        return 2 * x * u

    lab = lab_of(energy, lambda x, u: slope(x, u) * np.tanh(energy(x) / 20), slope, X)
    assert found_by(slopes.CHECK, lab) == ["gradient-mismatch/inner-factor"]
    lab = lab_of(energy, lambda x, u: slope(x, u) * 0.37, slope, X)
    assert found_by(slopes.CHECK, lab) == ["gradient-mismatch/constant-factor"]
