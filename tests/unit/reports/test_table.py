"""The table of the worst elements: its columns, and how it stands in a log of 80 columns."""

from dataclasses import replace

import pytest

from gradcheck.reports.elements import columns_of, relative
from gradcheck.reports.plain import table_text
from gradcheck.reports.wording import NUMBER_WIDTH, number
from gradcheck.results import Element, Finding

LONG = Element((12, 3), -1.2345e-4, -7.7081e-5, -7.7095e-5, -7.7096e-5, 1.4e-8, 1.8e-4, 7.7091e-10)
TRIPLED = Element((0,), 2.0, 6.0, 4.0, 4.0, 2.0, 0.5, 1e-5, upstream=1.0, slope=6.0)


def heads(*elements):
    return [column.head for column in columns_of(Finding("gradient-mismatch", "wrong", elements=elements), 5)]


@pytest.mark.parametrize("value", [-1.2345e-4, 0.00012345, -123456.0, 1.2345e-12, -9.8765e30, 0.0, float("-inf")])
def test_a_number_takes_nine_characters_at_most(value):
    assert len(number(value)) <= NUMBER_WIDTH
    assert float(number(value)) == pytest.approx(value, rel=1e-3)


def test_references_that_read_the_same_are_one_column():
    assert heads(TRIPLED) == ["index", "input", "upstream", "analytic", "reference", "slope", "error", "relative"]
    assert "autodiff" in heads(LONG)
    assert "finite diff" in heads(LONG)


def test_gradients_are_shown_in_enough_digits_to_see_the_difference():
    close = replace(TRIPLED, analytic=4.00001, abs_error=1e-5, rel_error=2.5e-6)
    cells = {column.head: column.cells[0] for column in columns_of(Finding("a", "b", elements=(close,)), 5)}
    assert cells["analytic"] == "4.00001"
    assert cells["reference"] == "4"


def test_what_no_element_has_is_no_column():
    assert "upstream" not in heads(LONG)
    assert "autodiff" not in heads(replace(TRIPLED, autodiff=None))


def test_another_mode_is_the_accused_one():
    element = replace(TRIPLED, modes={"xla, tape inside": 7.0})
    columns = columns_of(Finding("mode-mismatch", "differs", elements=(element,)), 5)
    assert [column.head for column in columns if column.wrong] == ["xla, tape inside"]


@pytest.mark.parametrize(
    ("error", "said"),
    [(0.5, "50 %"), (2e-4, "0.02 %"), (1.0, "100 %"), (12.0, "12x"), (0.0, "0 %"), (float("nan"), "-")],
)
def test_a_relative_error_reads_as_people_say_it(error, said):
    assert relative(error) == said


def test_plain_text_is_aligned_and_has_no_more_rows_than_asked_for():
    lines = table_text(Finding("gradient-mismatch", "wrong", elements=(LONG, TRIPLED)), 1).splitlines()
    assert len(lines) == 2
    assert len(set(map(len, lines))) == 1


@pytest.mark.parametrize(
    ("analytic", "exact", "said"), [(1.0000012, 1.0, "5"), (2.0, 1.0, "0"), (1.0, 1.0, "all"), (0.5, 0.0, "0")]
)
def test_digits_that_agree_with_the_exact_derivative_are_counted(analytic, exact, said):
    element = replace(TRIPLED, analytic=analytic, exact=exact)
    cells = {column.head: column.cells[0] for column in columns_of(Finding("a", "b", elements=(element,)), 5)}
    assert cells["digits"] == said


def test_without_exact_arithmetic_no_digits_are_counted():
    assert "digits" not in heads(TRIPLED)
