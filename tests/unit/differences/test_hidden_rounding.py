"""Low precision inside of a function is found, one input at a time."""

import numpy as np
import pytest

from gradcheck.differences.hidden_rounding import has_low_precision
from gradcheck.differences.vector_function import Point


def asked(f, x, groups=None):
    x = np.asarray(x, float)
    y = f(x[None])[0]
    edge = np.full(x.size, np.inf)
    point = Point(f, x, y, np.ones_like(y), -edge, edge, groups=None if groups is None else np.asarray(groups))
    return has_low_precision(point, np.random.default_rng(0))


def single(rows):
    return rows.astype(np.float32).astype(float)


X = [0.7, -1.3, 0.4, 2.1]


@pytest.mark.parametrize(
    ("rounds", "f"),
    [
        (False, np.tanh),
        (True, lambda rows: np.tanh(single(rows))),
        (False, lambda rows: np.round(rows)),
        (True, lambda rows: np.tanh(rows.astype(np.float16)).astype(float)),
    ],
)
def test_a_function_of_one_input(rounds, f):
    assert asked(f, X) is rounds


@pytest.mark.parametrize("rounds", [False, True])
def test_a_scale_does_not_hide_that_what_it_scales_is_rounded(rounds):
    def f(rows):
        x, g = rows[:, :4], rows[:, 4:]
        return np.tanh(single(x) if rounds else x) * g

    assert asked(f, [*X, 1.1, 0.9, -0.3, 0.5], [0] * 4 + [1] * 4) is rounds


def test_an_input_that_adds_little_is_not_rounded():
    assert not asked(lambda rows: rows[:, :4] + rows[:, 4:], [*X, 1e-9, 2e-9, 1e-9, 3e-9], [0] * 4 + [1] * 4)
