"""A mistake of one gradient is looked for first in what this gradient has for itself."""

from __future__ import annotations

import ast
import textwrap

from gradcheck.scanning.edits import Known, edits
from gradcheck.scanning.slices import by_suspicion
from gradcheck.scanning.syntax import Syntax


def syntax(source):
    lines = textwrap.dedent(source).strip("\n").splitlines()
    return Syntax(ast.parse("\n".join(lines)).body[0], ("u", "x", "y", "n"), lines)


def groups(source, wrong, count=2):
    """Return the texts of the names and calls in each group."""
    own = syntax(source)
    found = by_suspicion(own, own.expressions(), wrong, count)
    return [{own.text(node) for node in group if isinstance(node, (ast.Name, ast.Call))} for group in found]


TWO = """
def grad(u):
    shared = f(u)
    dx = g(shared)
    dy = h(shared)
    unused = k(u)
    return dx, dy
"""


def test_what_only_the_wrong_gradient_is_made_of_comes_first():
    first, second, rest = groups(TWO, [0])
    assert {"g(shared)"} <= first
    assert "h(shared)" not in first
    assert {"f(u)"} <= second
    assert {"h(shared)", "k(u)"} <= rest


def test_what_all_wrong_gradients_are_made_of_comes_first():
    first = groups(TWO, [0, 1])[0]
    assert "f(u)" in first
    assert "g(shared)" not in first


def test_without_wrong_places_there_is_one_group():
    assert len(groups(TWO, [])) == 1


def test_lists_that_are_filled_are_followed():
    source = """
def grad(u):
    parts = []
    for t in range(3):
        parts.append(g(u))
    total = z(u)
    total += a(u)
    return stack(parts), total
"""
    assert "g(u)" in groups(source, [0])[0]
    assert "a(u)" in groups(source, [1])[0]


def test_pairs_that_are_unpacked_are_followed_by_place():
    source = """
def grad(u):
    a, b = f(u), g(u)
    return a, b
"""
    first = groups(source, [1])[0]
    assert "g(u)" in first
    assert "f(u)" not in first


def test_an_unknown_shape_of_what_is_returned_gives_one_group():
    assert len(groups("def grad(u):\n    return both(u)", [0])) == 1


def test_edits_of_suspected_lines_come_first():
    own = syntax(TWO)
    lines = [edit.line for edit in edits(own, Known(wrong=(1,), count=2))]
    assert 4 in lines[: lines.index(2)]
    assert 3 not in lines[: lines.index(2)]


UNDER_A_CONDITION = """
def grad(u):
    dx = u * x
    dy = 0.0
    for t in steps:
        if t > late():
            dy += g(u, t)
    return dx, dy
"""


def test_the_condition_under_which_a_gradient_is_made_is_part_of_it():
    first, *_ = groups(UNDER_A_CONDITION, [1])
    assert {"late()", "g(u, t)"} <= first
    assert "x" not in first
