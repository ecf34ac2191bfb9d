"""A line is mended in its own words, and the mended line gives the gradient divided by the factor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck.scanning.mending import divided


@pytest.mark.parametrize(
    ("line", "factor", "mended"),
    [
        ("return up * 3.0 * x", 1.5, "return up * 2.0 * x"),
        ("return 3 * up * x", 1.5, "return 2 * up * x"),
        ("return up / 4.0", 0.5, "return up / 2.0"),
        ("return up * x", 0.5, "return up * x * 2.0"),
        ("return up * x + y", 2.0, "return (up * x + y) / 2.0"),
        ("return -up * x", -1.0, "return up * x"),
        ("return -(up * x)", -1.0, "return up * x"),
        ("return up", -1.0, "return -up"),
        ("    return x * x, lambda u: 2.0 * u", 2.0, "return x * x, lambda u: 1.0 * u"),
        ("return up * tf.cos(x)", -1.0, "return -up * tf.cos(x)"),
    ],
)
def test_the_factor_goes_where_people_would_write_it(line, factor, mended):
    assert divided(line, factor, 0, 1) == mended


def test_a_number_that_nobody_writes_is_no_mend():
    assert divided("return up * x", 0.196349541, 0, 1) is None
    assert divided("return up * x", 1 / 0.9, 0, 1) == "return up * x * 0.9"


def test_of_several_gradients_the_one_that_is_meant_is_mended():
    assert divided("return up * 2.0, up * 3.0 * x", 3.0, 1, 2) == "return up * 2.0, up * 1.0 * x"


@pytest.mark.parametrize(
    "line", ["return up * (", "x = 3.0 * up", "return f(lambda a: a, lambda b: b)", "return up, x", ""]
)
def test_a_line_that_is_not_understood_stays(line):
    assert divided(line, 2.0, 0, 1) is None


pieces = st.sampled_from(["up", "x", "2.0", "3", "0.5", "(up + x)", "abs(x)", "-x"])
joins = st.sampled_from([" * ", " / ", " + ", " - "])


@given(st.lists(st.tuples(joins, pieces), max_size=4), pieces, st.sampled_from([1.5, 2.0, -1.0, 0.25, 3.7]))
def test_the_mended_line_gives_the_gradient_divided_by_the_factor(rest, first, factor):
    expression = first + "".join(join + piece for join, piece in rest)
    mended = divided(f"return {expression}", factor, 0, 1)
    assert mended is not None
    names = {"up": 1.7, "x": 2.3, "abs": abs}
    wanted = eval(expression, names) / factor
    assert eval(mended.removeprefix("return "), names) == pytest.approx(wanted, rel=1e-9, abs=1e-12)
