"""A gradient that is wrong wherever a condition of the forward holds, and right wherever it does not."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.backend.tensorflow.conditions import Condition
from gradcheck.backend.tensorflow.masks import Mask
from gradcheck.diagnose.conditions import told
from gradcheck.diagnose.sides import _Look, _side

HOLDS = np.array([True, True, False, True, False, False, True, False])


def look(wrong, *masks):
    wrong = np.array(wrong)
    found = [Mask(Condition(("", f"op{n}", ""), "Less", "", 0), np.array(mask)) for n, mask in enumerate(masks)]
    return _Look(wrong, ~wrong, found)


def test_what_is_wrong_where_a_condition_holds_is_on_that_side():
    mask, side = _side([look(HOLDS, ~HOLDS[::-1], HOLDS)])
    assert (mask.condition.key[1], side) == ("op1", True)


def test_what_is_wrong_where_it_does_not_hold_is_on_the_other():
    _mask, side = _side([look(HOLDS, ~HOLDS)])
    assert not side


def test_one_element_that_is_wrong_on_both_sides_is_enough_to_say_nothing():
    wrong = HOLDS.copy()
    wrong[2] = True
    assert _side([look(HOLDS, HOLDS), look(wrong, HOLDS)]) is None


def test_a_few_elements_prove_nothing():
    assert _side([look([True, True, False], [True, True, False])]) is None


def test_a_condition_of_rows_counts_for_all_elements_of_a_row():
    rows = np.array([[True], [False]])
    assert _side([look(np.broadcast_to(rows, (2, 3)), rows)]) is not None


def test_a_condition_of_other_shape_is_passed_over():
    assert _side([look(HOLDS, HOLDS[:5])]) is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("y = tf.where(x < 1.0, x, 0.0)", "`x < 1.0` at ops.py:1 holds"),
        ("if tf.reduce_sum(x) < 3:", "`tf.reduce_sum(x) < 3` at ops.py:1 holds"),
        ("y = f(x < 1.0, x < 2.0)", "the condition at ops.py:1 holds (`y = f(x < 1.0, x < 2.0)`)"),
        ("y = tf.less(x, 1.0)", "the condition at ops.py:1 holds (`y = tf.less(x, 1.0)`)"),
    ],
)
def test_a_comparison_is_named_by_itself_where_it_is_alone(tmp_path, line, words):
    path = tmp_path / "ops.py"
    path.write_text(f"{line}\n")
    assert told(Condition(("", "op", ""), "Less", str(path), 1), True) == words
