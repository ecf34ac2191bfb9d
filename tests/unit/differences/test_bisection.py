"""Random directions tell whether a long gradient is right, and halving finds where it is not."""

import numpy as np
import pytest

from gradcheck.differences.bisection import directions_agree, suspects
from gradcheck.differences.vector_function import Point

COUNT = 500
X = np.random.default_rng(3).normal(size=COUNT)
V = np.random.default_rng(4).normal(size=COUNT)
RIGHT = V * (np.sin(X) + X * np.cos(X))


def point():
    y = np.sin(X) * X
    return Point(lambda rows: np.sin(rows) * rows, X, y, V, np.full(COUNT, -np.inf), np.full(COUNT, np.inf))


def test_a_right_gradient_agrees_with_random_directions():
    assert directions_agree(point(), RIGHT, np.random.default_rng(0))


@pytest.mark.parametrize("wrong", [[7], [0, COUNT - 1], list(range(100, 110))])
def test_the_elements_at_which_a_gradient_is_wrong_are_found(wrong):
    gradient = RIGHT.copy()
    gradient[wrong] *= 1.01
    assert not directions_agree(point(), gradient, np.random.default_rng(0))
    assert suspects(point(), gradient, np.random.default_rng(0)).tolist() == wrong


def test_a_factor_of_a_thousandth_more_contradicts_every_direction():
    assert not directions_agree(point(), 1.001 * RIGHT, np.random.default_rng(0))
