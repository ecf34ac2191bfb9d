"""The line on which a function returns its value."""

from __future__ import annotations

import pytest

from gradcheck.scanning.returns import has_branches, returning_line, source_at

SOURCE = """
def op(x, y):
    def grad(u):
        a = u * y

        def helper(v):
            return v

        if x is None:
            return None, None
        return (
            helper(a),
            u * x,
        )

    return x * y, grad


@decorated
@twice
def other(u):
    return u


negated = op(lambda u: -u)


def nothing(u):
    pass
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "ops.py"
    path.write_text(SOURCE)
    return str(path)


def test_the_element_of_a_returned_tuple_is_found(file):
    assert returning_line(file, 3, "grad", 0, 2).text == "helper(a),"
    assert returning_line(file, 3, "grad", 1, 2).text == "u * x,"


def test_without_a_position_it_is_the_statement(file):
    assert returning_line(file, 3, "grad", None, 2).text == "return ("
    assert returning_line(file, 2, "op", 5, 7).text == "return x * y, grad"


def test_of_several_returns_the_one_that_ran_is_meant(file):
    assert returning_line(file, 3, "grad", 0, 2, ran=(10,)).text == "return None, None"
    assert returning_line(file, 3, "grad", 1, 2, ran=(13,)).text == "u * x,"
    assert has_branches(file, 3, "grad")
    assert not has_branches(file, 2, "op")


def test_a_name_that_is_returned_stands_where_it_got_its_value(tmp_path):
    path = tmp_path / "ops.py"
    path.write_text("def grad(u):\n    a = u\n    a = 2 * a\n    b, c = u, u\n    return a, c\n")
    assert returning_line(str(path), 1, "grad", 0, 2).text == "a = 2 * a"
    assert returning_line(str(path), 1, "grad", 1, 2).text == "b, c = u, u"
    assert returning_line(str(path), 1, "grad", None, 2).text == "return a, c"


def test_of_a_name_with_values_in_two_branches_the_one_that_ran_is_meant(tmp_path):
    path = tmp_path / "ops.py"
    path.write_text("def grad(u):\n    if u:\n        a = u\n    else:\n        a = -u\n    return a, u\n")
    assert returning_line(str(path), 1, "grad", 0, 2, ran=(2, 3, 6)).text == "a = u"
    assert returning_line(str(path), 1, "grad", 0, 2, ran=(2, 5, 6)).text == "a = -u"
    assert has_branches(str(path), 1, "grad")


def test_decorators_and_lambdas_are_seen_through(file):
    assert returning_line(file, 19, "other", None, 1).text == "return u"
    assert returning_line(file, 25, "<lambda>", None, 1).text == "negated = op(lambda u: -u)"


def test_a_function_that_returns_nothing_is_its_definition(file):
    assert returning_line(file, 28, "nothing", None, 1).text == "def nothing(u):"


def test_a_file_that_cannot_be_read_has_no_line(tmp_path):
    assert returning_line(str(tmp_path / "gone.py"), 1, "f", None, 1) is None
    assert source_at(str(tmp_path / "gone.py"), 3).text == ""


def test_an_edited_file_is_read_again(file):
    assert returning_line(file, 19, "other", None, 1).line == 22
    with open(file, "w") as stream:
        stream.write("\n" * 30 + SOURCE)
    assert returning_line(file, 49, "other", None, 1).line == 52
