"""Values that are held fixed, stretches that are ignored and two paths with wrong factors explain a gradient."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.backend.tensorflow.dissection import Edge
from gradcheck.diagnose.left_out import held_values, passed_over
from gradcheck.diagnose.matches import wanted_of
from gradcheck.diagnose.two_changes import two_factors
from gradcheck.measure.dissected import Draw

A, B, C = (np.random.default_rng(i).normal(size=(4, 4)) for i in range(3))


def steps(seed, gradient):
    """Return one point of y = B tanh(m) + C sin(m) with m = exp(A x): the gradient is `gradient(its parts)`."""
    rng = np.random.default_rng(seed)
    x, u = 0.3 * rng.normal(size=4), rng.normal(size=4)
    inner = A @ x
    m = np.exp(inner)
    up_tanh, up_sin = B.T @ u, C.T @ u
    parts = up_tanh / np.cosh(m) ** 2, up_sin * np.cos(m)
    adjoint = parts[0] + parts[1]
    of_inner, of_m = A.T, A.T * m

    def edge(op, name, value, output, upstream, part, spread, before=()):
        return Edge(op, name, 0, "ops.py", 1, value, output, (), upstream, part, None, spread, frozenset(before))

    edges = [
        edge("Exp", "g/exp", inner, m, adjoint, adjoint * m, of_inner),
        edge("Tanh", "g/tanh", m, np.tanh(m), up_tanh, parts[0], of_m, ["g/exp"]),
        edge("Sin", "g/sin", m, np.sin(m), up_sin, parts[1], of_m, ["g/exp"]),
    ]
    through = [of_m @ part for part in parts]
    return Draw(gradient(x, u, m, through), of_m @ adjoint, edges)


def search(how, gradient):
    """Return the causes that a search finds for a gradient, at two points."""
    draws = steps(10, gradient), steps(11, gradient)
    return [match.change.cause for match in how(draws, wanted_of(draws, slice(None), True))]


def test_a_value_that_is_held_fixed_passes_nothing_to_either_use():
    assert search(held_values, lambda x, u, m, through: np.zeros(4) + 0 * x) == ["stopped"]


def test_a_stretch_that_is_ignored_passes_its_upstream_to_its_begin():
    ignored = search(passed_over, lambda x, u, m, through: A.T @ (B.T @ u))
    assert "bypassed" in ignored


@pytest.mark.parametrize(("one", "other"), [(2.0, 0.0), (0.5, 3.0)])
def test_two_paths_with_a_factor_each_are_found(one, other):
    found = search(two_factors, lambda x, u, m, through: one * through[0] + other * through[1])
    assert found == ["inner-factor"]


@pytest.mark.parametrize("how", [held_values, passed_over, two_factors])
def test_a_gradient_that_is_another_function_is_not_explained(how):
    assert search(how, lambda x, u, m, through: np.cos(7 * x) * u) == []


@pytest.mark.parametrize("how", [held_values, two_factors])
def test_a_right_gradient_needs_no_explanation(how):
    assert search(how, lambda x, u, m, through: through[0] + through[1]) == []


def test_factors_that_fit_one_point_alone_explain_nothing():
    def depends(x, u, m, through):
        return (1 + x[0]) * through[0] + 2 * through[1]

    assert search(two_factors, depends) == []
