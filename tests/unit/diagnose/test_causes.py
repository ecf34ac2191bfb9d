"""Each cause is decided by its stated test, and no guess is made where none is met."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.diagnose.causes import diagnose
from gradcheck.diagnose.evidence import Evidence, Trial
from gradcheck.diagnose.shapes import axes_to_sum, explain_shape
from gradcheck.differences.ladder import Label

RNG = np.random.default_rng(5)
REFERENCE = RNG.normal(size=(4, 3))
NOWHERE, EXACT = np.zeros((4, 3), bool), np.zeros((4, 3))


def cause(gradient, reference=REFERENCE, **more):
    return told(gradient, reference, **more).cause


def told(gradient, reference=REFERENCE, **more):
    gradient = np.asarray(gradient, float)
    wrong = np.abs(gradient - reference) > 1e-6
    labels = np.full(reference.shape, Label.SMOOTH)
    values = {"usable": np.ones(reference.shape, bool), "labels": labels, "output_shapes": (reference.shape,), **more}
    return diagnose(Evidence(gradient=gradient, reference=reference, wrong=wrong, **values))


def test_sign_flip():
    assert cause(-REFERENCE) == "sign-flip"


def test_constant_factor():
    assert cause(1.5 * REFERENCE) == "constant-factor"


def test_zero():
    assert cause(0 * REFERENCE) == "zero"


def test_mean_in_place_of_sum():
    assert cause(REFERENCE / 12, output_shapes=((),)) == "mean-not-sum"
    assert cause(REFERENCE * 12, output_shapes=((),)) == "mean-not-sum"


def test_a_count_is_one_of_axes():
    rows = RNG.normal(size=(5, 3))
    assert cause(rows / 6, rows, output_shapes=((5, 6, 3),)) == "mean-not-sum"
    assert cause(2 * rows, rows, output_shapes=((5, 6),)) == "constant-factor"


def test_an_axis_that_the_output_still_has_is_no_mean():
    """A factor of 2 for scores of 2 keys is the root of 4, not a mean over a batch of 2."""
    queries = RNG.normal(size=(2, 3, 4))
    assert cause(2 * queries, queries, output_shapes=((2, 3, 2),)) == "constant-factor"
    assert cause(4 * queries, queries, output_shapes=((2, 3),)) == "mean-not-sum"


def test_a_jacobian_that_is_not_transposed():
    turned = RNG.normal(size=(4, 3))
    assert cause(turned, jvp=turned) == "transposed"
    assert "J^T u" in told(turned, jvp=turned).message
    assert cause(REFERENCE + turned, jvp=turned) == "unknown"


def test_an_input_that_reaches_one_output_says_nothing_of_the_other():
    nothing = np.zeros((4, 3))
    outputs = [("output 0", REFERENCE / 6, REFERENCE), ("output 1", nothing, nothing)]
    assert cause(REFERENCE / 6, outputs=outputs) != "one-output"


def test_transposed():
    square = RNG.normal(size=(3, 3))
    assert cause(square.T, square) == "transposed"


def test_swapped_inputs():
    other = RNG.normal(size=(4, 3))
    assert cause(other, others={"y": (REFERENCE, other)}) == "swapped-inputs"


def test_missing_term():
    part = RNG.normal(size=(4, 3))
    assert cause(REFERENCE - part, terms=[part, REFERENCE - part]) == "missing-term"


def test_one_output():
    bad = REFERENCE + 1
    outputs = [("output 0", REFERENCE, REFERENCE), ("output 1", bad, REFERENCE)]
    assert cause(bad, outputs=outputs) == "one-output"


def test_region_needs_a_range_that_holds_every_wrong_value_and_no_right_one():
    trials = []
    for _ in range(4):
        x = RNG.normal(size=(4, 3))
        trials.append(Trial(x, x < 0, x >= 0, NOWHERE, EXACT))
    gradient = np.where(trials[0].wrong, REFERENCE + RNG.normal(size=(4, 3)), REFERENCE)
    assert cause(gradient, trials=trials) == "region"


def test_elements_stay_at_their_place_in_every_draw():
    wrong = np.zeros((4, 3), bool)
    wrong[2, 1] = True
    trials = [Trial(RNG.normal(size=(4, 3)), wrong, ~wrong, NOWHERE, EXACT) for _ in range(4)]
    assert cause(np.where(wrong, 0.0, REFERENCE), trials=trials) == "elements"


def test_straight_through():
    flat = np.full((4, 3), Label.STAIRCASE)
    assert cause(np.ones((4, 3)), np.zeros((4, 3)), labels=flat) == "straight-through"


def test_two_factors_close_to_each_other_are_no_constant_factor():
    factors = np.where(np.arange(12).reshape(4, 3) % 2, 1.0270, 1.0275)
    assert cause(factors * REFERENCE) != "constant-factor"


def test_the_count_of_a_complex_input_is_that_of_its_numbers():
    pairs = RNG.normal(size=(4, 3, 2))
    assert cause(pairs / 2, pairs, output_shapes=((12,),), complex=True) == "constant-factor"


def test_one_part_of_complex_numbers_is_named():
    pairs = RNG.normal(size=(4, 3, 2)) * np.array([1.0, 0.0])
    wrong = pairs + np.array([0.0, 1.0]) * RNG.normal(size=(4, 3, 2))
    assert cause(wrong, pairs, complex=True) == "elements"


def test_a_scalar_off_by_the_count_of_outputs_is_a_mean():
    one = np.array(3.7)
    assert cause(one / 21, one, output_shapes=((21,),)) == "mean-not-sum"


def test_the_diagonal_is_a_place():
    square = RNG.normal(size=(4, 4))
    values = 10 * np.eye(4) + 0.1 * RNG.normal(size=(4, 4))
    wrong = np.eye(4, dtype=bool)
    trials = [Trial(values, wrong, ~wrong, wrong & False, EXACT)]
    assert cause(square + np.eye(4), square, trials=trials) == "elements"


def test_elements_whose_gradient_is_zero_anyway_are_not_right_ones():
    mask = np.zeros((4, 3))
    mask[1] = 1.0
    gradient = mask * RNG.normal(size=(4, 3))
    trials = [Trial(RNG.normal(size=(4, 3)), mask > 0, mask == 0, NOWHERE, EXACT) for _ in range(4)]
    assert cause(gradient, mask * REFERENCE, trials=trials) == "unknown"


@pytest.mark.parametrize("kind", ["neither wrong nor right", "hardly wrong"])
def test_an_error_that_fades_away_has_no_border(kind):
    trials = []
    for _ in range(4):
        x = RNG.normal(size=(4, 3))
        between = (x >= 0) & (x <= 0.5)
        if kind == "hardly wrong":
            trials.append(Trial(x, x <= 0.5, x > 0.5, between, EXACT))
        else:
            trials.append(Trial(x, x < 0, x > 0.5, NOWHERE, EXACT))
    gradient = np.where(trials[0].wrong, REFERENCE + RNG.normal(size=(4, 3)), REFERENCE)
    assert cause(gradient, trials=trials) != "region"


def test_an_input_that_nothing_depends_on_is_no_staircase():
    flat = np.full((4, 3), Label.FLAT)
    assert cause(np.ones((4, 3)), np.zeros((4, 3)), labels=flat, reaches=False) == "no-effect"


def test_a_term_with_the_wrong_sign_or_twice():
    part = RNG.normal(size=(4, 3))
    terms = [part, REFERENCE - part]
    assert cause(REFERENCE - 2 * part, terms=terms) == "sign-flip"
    found = told(REFERENCE + part, terms=terms)
    assert (found.cause, "twice" in found.message) == ("inner-factor", True)


@pytest.mark.parametrize(
    ("power", "said"), [(1, "= the input at"), (-1, "= 1 / the input at"), (2, "the input squared")]
)
def test_a_wrong_exponent_is_told_as_a_factor(power, said):
    x = RNG.normal(size=(4, 3))
    assert said in told(REFERENCE * x**power, patterns={"the input": x}).message


def test_a_gradient_in_reverse_order():
    assert "reversed along axis 1" in told(REFERENCE[:, ::-1]).message


@pytest.mark.parametrize(("places", "said"), [(1, "by 1 along axis 1, towards its end"), (-2, "by 2 along axis 1")])
def test_a_gradient_that_is_shifted_whatever_is_at_the_edge(places, said):
    wide = RNG.normal(size=(3, 8))
    moved = np.roll(wide, places, 1)
    np.moveaxis(moved, 1, 0)[: max(places, 0)] = 0.0
    found = told(moved, wide)
    assert (found.cause, said in found.message) == ("index", True)
    assert cause(moved + 0.1 * RNG.normal(size=(3, 8)), wide) == "unknown"


def test_a_gradient_in_another_order_along_an_axis():
    wide = RNG.normal(size=(3, 6))
    found = told(wide[:, [0, 2, 4, 1, 3, 5]], wide)
    assert (found.cause, "along axis 1: at 1, 2, 3, 4 those of 2, 4, 1, 3" in found.message) == ("index", True)
    assert cause(wide + 0.1 * RNG.normal(size=(3, 6)), wide) == "unknown"


def test_a_gradient_of_which_some_parts_are_in_other_places():
    blocks = RNG.normal(size=(2, 2, 3, 2))
    mixed = blocks.transpose(1, 0, 2, 3)
    found = told(mixed, blocks)
    assert (found.cause, "axes 0 and 1" in found.message) == ("transposed", True)
    moved = blocks.reshape(6, 4).copy()
    moved[[1, 4], 2:] = moved[[4, 1], 2:]
    found = told(moved, blocks.reshape(6, 4))
    assert (found.cause, "4 of 24 elements have another's" in found.message) == ("index", True)


def test_numbers_that_are_off_by_little_are_in_their_own_places():
    assert cause(REFERENCE + 1e-4 * RNG.normal(size=(4, 3))) == "unknown"
    wide = RNG.normal(size=(3, 6))
    assert cause(wide + 1e-4 * wide * RNG.normal(size=(3, 6)), wide) == "unknown"


def of_rows(rows, given):
    gradient = REFERENCE.copy()
    gradient[rows] += RNG.normal(size=(len(rows), 3))
    trial = Trial(REFERENCE, np.abs(gradient - REFERENCE) > 0, gradient == REFERENCE, NOWHERE, EXACT)
    return told(gradient, trials=(trial, trial), given=given)


def test_wrong_rows_are_told_by_the_labels_that_they_have():
    found = of_rows([1], {"labels": np.array([0, -1, 2, 1])})
    assert (found.cause, "where `labels` is below 0" in found.message) == ("elements", True)
    assert "labels" not in of_rows([1], {"labels": np.array([2, 1, 3, 3])}).message


def test_rows_that_an_index_names_twice_are_told():
    found = of_rows([2], {"indices": np.array([[0, 2], [2, 3]])})
    assert "which `indices` names more than once" in found.message
    assert "unsorted_segment_sum" in found.hint
    assert "indices" not in of_rows([1, 2], {"indices": np.array([[0, 2], [2, 3]])}).message


def test_a_sum_over_an_axis_that_is_missing_is_a_term():
    y = np.exp(REFERENCE) / np.exp(REFERENCE).sum(-1, keepdims=True)
    upstream = RNG.normal(size=(4, 3))
    right = y * (upstream - (upstream * y).sum(-1, keepdims=True))
    assert cause(y * upstream, right, patterns={"the output": y}) == "missing-term"
    assert cause(right + 0.1 * RNG.normal(size=(4, 3)), right, patterns={"the output": y}) == "unknown"


def test_unknown_where_no_test_is_met():
    assert cause(RNG.normal(size=(4, 3))) == "unknown"


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        ((4, 3), (3,), "unreduced-broadcast"),
        ((4, 3), (4, 1), "unreduced-broadcast"),
        ((4, 3), (), "unreduced-broadcast"),
        ((), (3,), "over-reduced"),
        ((3,), (4, 3), "over-reduced"),
        ((3, 4), (4, 3), "transposed"),
        ((12,), (4, 3), None),
    ],
)
def test_shapes_are_explained(found, wanted, expected):
    assert explain_shape(found, wanted)[0] == expected


def test_the_axis_to_sum_is_named():
    assert axes_to_sum((2, 4, 3), (4, 3)) == (0,)
    assert axes_to_sum((2, 4, 3), (2, 1, 3)) == (1,)
    assert "axis 0" in explain_shape((2, 3), (3,))[1]
