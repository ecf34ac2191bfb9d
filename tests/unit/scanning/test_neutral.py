"""A fix is shown without operations that change nothing."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck.scanning.neutral import without_neutral


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("return u * 1.0 * x", "return u * x"),
        ("return (t - 0) * x", "return (t) * x"),
        ("return (u + y) * 1.0 * x", "return (u + y) * x"),
        ("return 1.0 * (u + y)", "return (u + y)"),
        ("return u / 1.0", "return u"),
        ("y = u[k + 0]", "y = u[k]"),
        ("return 1.0 * u ** 1", "return u"),
        ("return u * 2.0 - 1.0", "return u * 2.0 - 1.0"),
        ("return 0 - u", "return 0 - u"),
        ("return u + (-1.0)", "return u - 1.0"),
        ("return u - (-2) * x", "return u + 2 * x"),
        ("return u + (-2) ** 2", "return u + (-2) ** 2"),
        ("return 1 / u", "return 1 / u"),
        ("return u - -x * y", "return u + x * y"),
        ("return u + -x / y - z", "return u - x / y - z"),
        ("-u * x - -y * z,", "-u * x + y * z,"),
        ("return u - (-x) * y", "return u - (-x) * y"),
        ("return u * -x", "return u * -x"),
        ("for t in range(3 - 0):", "for t in range(3 - 0):"),
        ("return μ * 1.0 + x", "return μ + x"),
        ("return u * ((t * t))", "return u * (t * t)"),
        ("g = u + (a) * g", "g = u + a * g"),
        ("return u * (x)[:, None]", "return u * x[:, None]"),
        ("return u * (f(x))[0] + (x + y)", "return u * f(x)[0] + (x + y)"),
        ("return f((x), (u + y) * (x + y))", "return f(x, (u + y) * (x + y))"),
    ],
)
def test_what_changes_nothing_is_left_out(line, shown):
    assert without_neutral(line, "return u * 3.0") == shown


def test_what_the_user_wrote_stays():
    assert without_neutral("return u * 1.0 * x", "return u * 1.0") == "return u * 1.0 * x"


NUMBERS = st.recursive(
    st.sampled_from(["0", "1", "2", "3"]),
    lambda inner: st.tuples(st.sampled_from(["({} {} {})", "{} {} {}"]), inner, st.sampled_from("+-*"), inner).map(
        lambda p: p[0].format(*p[1:])
    ),
    max_leaves=6,
)


@given(NUMBERS)
def test_the_value_stays(expression):
    assert ast.literal_eval(str(eval(without_neutral(expression, "x")))) == eval(expression)
