"""What compares and chooses: sides are certain or nothing is said."""

from __future__ import annotations

import numpy as np
import pytest
from flint import arb

from gradcheck.exact.balls import Dual, Undecided, lift, objects, set_precision
from gradcheck.exact.kinds import KINDS
from gradcheck.exact.orders import extreme, order, places, sorted_places


@pytest.fixture(autouse=True)
def precision():
    set_precision()


def one(name, *operands):
    return KINDS[name](list(operands), lambda attribute: None)[0]


def moving(numbers, slope=1.0):
    x = lift(numbers)
    return Dual(x.value, (lift(np.full(np.shape(numbers), slope)).value,))


def floats(x):
    return np.vectorize(float)(x.value)


def test_overlapping_balls_have_no_order():
    with pytest.raises(Undecided):
        order(arb(1, 0.1), arb(1))


def test_equal_exact_numbers_are_equal_and_nan_is_neither():
    assert order(arb(2), arb(2)) == 0
    assert order(arb("nan"), arb(2)) == 2


COMPARED = {
    "Greater": [False, False, True],
    "GreaterEqual": [False, True, True],
    "Less": [True, False, False],
    "LessEqual": [True, True, False],
    "Equal": [False, True, False],
    "NotEqual": [True, False, True],
}


@pytest.mark.parametrize(("name", "wanted"), COMPARED.items())
def test_comparisons_of_exact_numbers(name, wanted):
    assert one(name, lift([1.0, 2.0, 3.0]), lift(2.0)).tolist() == wanted


def test_a_moving_number_at_a_threshold_is_undecided():
    with pytest.raises(Undecided, match="a tie"):
        one("Greater", moving([2.0]), lift(2.0))


def test_two_equal_numbers_that_move_together_are_decided():
    assert not one("Greater", moving([2.0]), moving([2.0])).any()


@pytest.mark.parametrize("name", ["Maximum", "Minimum"])
def test_a_tie_of_two_that_move_apart_is_undecided(name):
    with pytest.raises(Undecided):
        one(name, moving([1.0], 1.0), moving([1.0], 2.0))


def test_relu_and_abs_at_zero_are_undecided_where_the_input_moves():
    for name in ("Relu", "Abs", "Sign"):
        with pytest.raises(Undecided):
            one(name, moving([0.0]))


def test_elu_is_smooth_at_zero():
    found = one("Elu", moving([0.0]))
    assert floats(found) == [0.0]
    assert float(found.slopes[0].item()) == 1.0


@pytest.mark.parametrize(("name", "wanted"), [("Floor", [-3, -1, 0, 2, 2]), ("Ceil", [-2, 0, 1, 2, 3]),
                                              ("Round", [-2, 0, 0, 2, 2])])  # fmt: skip
def test_steps_of_exact_numbers(name, wanted):
    assert floats(one(name, lift([-2.5, -0.5, 0.5, 2.0, 2.5]))).tolist() == wanted


def test_remainders_have_the_sign_of_their_kind():
    assert floats(one("FloorMod", lift([-3.5, 3.5]), lift(2.0))).tolist() == [0.5, 1.5]
    assert floats(one("Mod", lift([-3.5, 3.5]), lift(2.0))).tolist() == [-1.5, 1.5]


def test_places_of_extremes_are_the_first_of_equal_ones():
    x = lift([[1.0, 3.0, 3.0], [0.0, -1.0, -1.0]])
    assert places(x, 1, 1).tolist() == [1, 0]
    assert places(x, 1, -1).tolist() == [0, 1]
    assert sorted_places(x).tolist() == [[1, 2, 0], [0, 1, 2]]


def test_a_tie_of_extremes_that_move_apart_is_undecided():
    x = lift([[1.0, 1.0]])
    apart = Dual(x.value, (lift([[1.0, 2.0]]).value,))
    with pytest.raises(Undecided):
        extreme(apart, (0,), 1)
    with pytest.raises(Undecided):
        sorted_places(apart)


def test_select_takes_values_and_slopes_of_the_chosen_side():
    found = KINDS["SelectV2"]([np.array([True, False]), moving([1.0, 2.0]), lift([5.0, 6.0])], lambda name: None)[0]
    assert floats(found).tolist() == [1.0, 6.0]
    assert floats(Dual(found.slopes[0])).tolist() == [1.0, 0.0]


def test_tests_of_single_numbers():
    x = Dual(objects(np.array([arb(1), arb("inf"), arb("nan")], object)))
    assert one("IsFinite", x).tolist() == [True, False, False]
    assert one("IsInf", x).tolist() == [False, True, False]
    assert one("IsNan", x).tolist() == [False, False, True]
