"""Rules of one op, changed as people change them by mistake."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.backend.tensorflow.dissection import Edge
from gradcheck.diagnose.changes import changes_of

RNG = np.random.default_rng(0)
X, W, U = RNG.normal(size=(4, 3)), RNG.normal(size=(3, 3)), RNG.normal(size=(4, 3))


def edge(op, value, output, part, upstream=U, others=(), applied=None):
    spread = np.eye(part.size)
    return Edge(op, "g/op", 0, "", 0, value, output, others, upstream, part, applied, spread)


def explained(e, wanted):
    """Return the causes of the changes that give a part."""
    causes = []
    for change, changed in changes_of(e):
        part = changed(e)
        if part is not None and part.shape == wanted.shape and np.allclose(part, wanted, rtol=1e-12, atol=0):
            causes.append(change.cause)
    return causes


relu = edge("Relu", X, np.maximum(X, 0), U * (X > 0))
tanh = edge("Tanh", X, np.tanh(X), U * (1 - np.tanh(X) ** 2))
product = edge("MatMul", X, X @ W, U @ W.T, others=(W,))
softmax = np.exp(X) / np.exp(X).sum(-1, keepdims=True)
mixed = edge("Softmax", X, softmax, softmax * (U - (U * softmax).sum(-1, keepdims=True)))
running = edge("Cumsum", X, np.cumsum(X, 1), np.cumsum(U[:, ::-1], 1)[:, ::-1], applied=np.cumsum(U, 1))
minus = edge("Neg", X, -X, -U)


@pytest.mark.parametrize(
    ("e", "wanted", "cause"),
    [
        (relu, U, "mask"),
        (relu, U * (X <= 0), "mask"),
        (tanh, U, "bypassed"),
        (tanh, 0 * U, "stopped"),
        (tanh, -tanh.part, "sign-flip"),
        (tanh, U * np.tanh(X), "operand"),
        (tanh, U * (1 - np.tanh(X)), "operand"),
        (product, U @ W, "transposed"),
        (mixed, U * softmax, "missing-term"),
        (running, np.cumsum(U, 1), "transposed"),
        (tanh, tanh.part[:, ::-1], "index"),
        (tanh, np.roll(tanh.part, 1, 1), "index"),
        (tanh, np.broadcast_to(tanh.part.mean(0), (4, 3)), "axis"),
    ],
)
def test_a_mistake_is_explained_by_its_kind_first(e, wanted, cause):
    assert explained(e, wanted)[0] == cause


@pytest.mark.parametrize("e", [relu, tanh, product, mixed, running])
def test_the_right_rule_is_no_change(e):
    assert explained(e, e.part) == []


def test_a_forgotten_minus_is_a_sign_and_not_a_derivative():
    assert explained(minus, U)[0] == "sign-flip"


def test_a_broadcast_operand_is_summed_over_what_it_was_broadcast_to():
    bias = edge("Mul", X[0], X, (U * X).sum(0), others=(X,))
    assert explained(bias, U.sum(0))[0] == "bypassed"


def test_nothing_is_divided_by_zero():
    zeros = edge("Mul", 0 * X, 0 * X, U * X, others=(X,))
    with np.errstate(all="raise"):
        explained(zeros, U)
