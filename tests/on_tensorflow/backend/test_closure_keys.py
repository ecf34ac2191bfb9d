"""Two closures of the same code are one op if they hold the same, and two if they hold another number or object."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.backend.tensorflow.closure_keys import ClosureKeys, words_of


class Gate:
    def __init__(self, kind, calls=0):
        self.kind, self.calls, self._private = kind, calls, object()


def closure(held):
    return lambda x: (x, held)


def wrapping(rule):
    return closure(rule)


def square(x):
    return x * x


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (2.0, 3.0),
        (np.float32(2.0), np.float32(3.0)),
        ("sin", "exp"),
        (None, 0),
        (True, 1),
        (square, abs),
        (closure(2.0), closure(3.0)),
        (Gate("sin"), Gate("exp")),
        (Gate("sin").__init__, Gate("exp").__init__),
        ([1.0, 2.0], [1.0, 3.0]),
        ({"scale": 1.0}, {"scale": 2.0}),
        (np.zeros(3), np.zeros(4)),
    ],
)
def test_what_holds_other_things_is_another_closure(one, other):
    keys = ClosureKeys()
    assert keys.key(closure(one)) != keys.key(closure(other))
    assert hash(keys.key(closure(one))) == hash(keys.key(closure(one)))


@pytest.mark.parametrize(
    ("one", "other"),
    [(float("nan"), float("nan")), (Gate("sin"), Gate("sin")), (np.zeros(3), np.ones(3)), (closure(1), closure(1))],
)
def test_what_holds_the_same_is_the_same_closure(one, other):
    keys = ClosureKeys()
    assert keys.key(closure(one)) == keys.key(closure(other))


def test_a_counter_of_an_object_makes_no_other_closure_of_every_call():
    keys, gate = ClosureKeys(), Gate("sin")
    before = keys.key(closure(gate))
    gate.calls += 1
    assert keys.key(closure(gate)) == before


def test_an_object_that_holds_itself_is_described():
    gate = Gate("sin")
    gate.own = gate
    assert ClosureKeys().key(closure(gate))


def test_words_say_what_a_closure_holds():
    scale = 3.0

    def scaled(x):
        return scale * x

    gate = Gate("tanh")

    def gated(x):
        return gate, x

    assert words_of(scaled) == "scale=3.0"
    assert words_of(gated) == "gate.kind='tanh', gate.calls=0"
    assert words_of(square) == ""
