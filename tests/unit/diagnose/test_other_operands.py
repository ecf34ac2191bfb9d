"""Rules that are right but see another value of the forward."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gradcheck.diagnose.other_operands import Moved, other_operands
from gradcheck.measure.dissected import Draw
from tests.unit.diagnose.test_changes import U, W, X, edge

H, B = np.tanh(X), np.array([0.5, -1.2, 2.0])


def found(e, wanted, *further):
    """Return what is seen by the rules of an edge that give a part, with the further edges of the forward."""
    draw = Draw(np.zeros(e.part.size), np.zeros(e.part.size), [e, *further])
    parts = ((other, other.part(draw)) for other in other_operands([draw]) if other.edge == 0)
    return [other for other, part in parts if part is not None and np.allclose(part - e.part, wanted - e.part, 1e-12)]


tanh = edge("Tanh", X, H, U * (1 - H * H))
product = edge("MatMul", W, H @ W, H.T @ U, others=(H,))
scaled = edge("Mul", B, X * B, (U * X).sum(0), others=(X,))
quotient = replace(edge("RealDiv", X, H / X, -U * H / X**2, others=(H,)), position=1)


def test_the_slope_of_tanh_at_another_value_is_found():
    (other,) = found(tanh, U * (1 - (X + 1) ** 2), edge("AddV2", X, X + 1, U))
    assert other.own == "its output"


def test_a_matrix_product_with_another_factor_is_found():
    assert [other.own for other in found(product, X.T @ U, tanh)] == ["its other factor"]


def test_a_broadcast_factor_may_see_the_output():
    assert "its other factor" in [other.own for other in found(scaled, (U * X * B).sum(0))]


@pytest.mark.parametrize("how", ["averaged", "reversed", "shifted by one"])
def test_a_factor_at_other_places_is_found(how):
    moved = {"averaged": 0 * H + H.mean(0), "reversed": H[::-1], "shifted by one": np.roll(H, 1, 0)}[how]
    (other,) = found(product, moved.T @ U)
    assert isinstance(other.seen, Moved)
    assert (other.seen.how, other.seen.axis) == (how, 0)


def test_a_denominator_may_be_another_value():
    assert found(quotient, -U * H / (X + 1) ** 2, edge("AddV2", X, X + 1, U))[0].own == "its input"


def test_another_formula_is_not_explained():
    assert not found(product, (H**3).T @ U, tanh)
