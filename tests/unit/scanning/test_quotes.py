"""The line of the forward that a message quotes says where in grad_fn to look first."""

from __future__ import annotations

import ast

import pytest

from gradcheck.scanning.edits import Known, edits
from gradcheck.scanning.quotes import names_in_quotes
from gradcheck.scanning.syntax import Syntax


@pytest.mark.parametrize(
    ("message", "names"),
    [
        ("it ignores tf.nn.relu (ops.py:9: `y = tf.nn.relu(x)`). Autodiff", {"x", "y"}),
        ("of the product (ops.py:9: `s = f(a) * w[i]`) and (ops.py:4: `t = 2`)", {"s", "a", "w", "i", "t"}),
        ("the gradient of `x` is wrong: it is 0", set()),
        ("through the minus (ops.py:9: `loss = -(w * t`)", set()),
        ("(ops.py:9: `return y * 2.0, grad`)", {"y", "grad"}),
    ],
)
def test_the_names_of_a_quoted_line(message, names):
    assert names_in_quotes(message) == names


def test_lines_that_read_what_the_forward_line_names_are_edited_first():
    lines = "def grad(u):\n    a = u * x\n    b = a * y\n    return b * x".splitlines()
    syntax = Syntax(ast.parse("\n".join(lines)).body[0], ("u", "a", "b", "x", "y"), lines)
    first = [edit.line for edit, _ in zip(edits(syntax, Known(names=frozenset("y"))), range(20), strict=False)]
    assert set(first) == {3}
    assert {edit.line for edit in edits(syntax, Known(names=frozenset("y")))} == {2, 3, 4}
