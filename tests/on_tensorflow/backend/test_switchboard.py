"""The gradient of a forward with the rules of its lines changed."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from gradcheck.backend.tensorflow.switchboard import IGNORED, NEGATED, STOPPED, TURNED, Switchboard
from gradcheck.backend.tensorflow.vector_op import Layout
from gradcheck.backend.tensorflow.wide_forward import WideForward
from gradcheck.numerics.packing import Coordinates, make_slot

RNG = np.random.default_rng(0)
X, W, U = RNG.normal(size=(2, 3)), RNG.normal(size=(3, 3)), RNG.normal(size=(2, 3))


class Traced:
    """Stand in for what traces an op: its forward as a concrete function."""

    def __init__(self, forward):
        self.forward = forward

    def traced_forward(self, values):
        specs = [tf.TensorSpec(v.shape, v.dtype) for v in values]
        return tf.function(lambda x, w: [self.forward(x, w)]).get_concrete_function(*specs)


def steps(x, w):
    h = x
    for _ in range(3):
        h = tf.nn.relu(tf.matmul(h, w) + 0.1)
    return h


def by_hand(mask=True, turned=False, through=1.0):
    """Return the gradient of `steps` with the same mistake in every step."""
    states = [X]
    for _ in range(3):
        states.append(np.maximum(states[-1] @ W + 0.1, 0))
    back, by_w = U, np.zeros_like(W)
    for t in reversed(range(3)):
        local = back * ((states[t + 1] > 0) if mask else 1.0)
        by_w = by_w + states[t].T @ local
        back = through * (local @ (W if turned else W.T))
    return np.concatenate([back.ravel(), by_w.ravel()])


def board_of(forward, x, w):
    slots = (make_slot("x", x, "float64"), make_slot("w", w, "float64"))
    outputs = Coordinates((make_slot("output[0]", U, "float64"),))
    layout = Layout((x, w), (0, 1), (), Coordinates(slots), outputs)
    return Switchboard(WideForward(Traced(forward), layout, ()), [U])


@pytest.fixture(scope="module")
def board():
    return board_of(steps, X, W)


def gradient(board, op, change, position=0, uses=3):
    point = np.concatenate([X.ravel(), W.ravel()])
    chosen = [g for g in board.groups if g.op == op and len(g.uses) == uses and g.step is None]
    return board.gradient(point, U.ravel(), chosen[position], change)


@pytest.mark.parametrize(
    ("op", "change", "wanted"),
    [
        ("Relu", IGNORED, {"mask": False}),
        ("MatMul", TURNED, {"turned": True}),
        ("MatMul", NEGATED, {"through": -1.0}),
        ("MatMul", STOPPED, {"through": 0.0}),
    ],
)
def test_the_rule_of_a_line_is_changed_in_every_step(board, op, change, wanted):
    assert np.allclose(gradient(board, op, change), by_hand(**wanted), rtol=1e-12, atol=1e-12)


def test_one_step_alone_may_be_stopped(board):
    last = [g for g in board.groups if g.op == "Relu" and g.step is not None][-1]
    point = np.concatenate([X.ravel(), W.ravel()])
    assert not np.any(board.gradient(point, U.ravel(), last, STOPPED))


def test_a_factor_that_is_not_square_is_not_turned(board):
    assert all(TURNED not in g.changes() for g in board.groups if g.op == "MatMul" and g.uses[0] % 2)


def test_the_other_factor_of_a_product_is_left_out_in_every_step():
    decay = np.array([[0.5, 0.8, 0.9]])

    def decayed(x, a):
        h = x
        for _ in range(3):
            h = a * h + x
        return h

    def sum_of(back):
        """Return the gradient of x where what comes back of a step is `back` of the upstream."""
        through, total = U, 0.0
        for _ in range(3):
            total, through = total + through, back * through
        return total + through

    board = board_of(decayed, X, decay)
    (carried,) = [g for g in board.groups if g.op == "Mul" and g.ignores and g.uses[0] == 1 and len(g.uses) == 3]
    found = board.gradient(np.concatenate([X.ravel(), decay.ravel()]), U.ravel(), carried, IGNORED)[: X.size]
    assert np.allclose(found, sum_of(1.0).ravel(), rtol=1e-12)
    assert not np.allclose(found, sum_of(decay).ravel())
