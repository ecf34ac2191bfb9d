"""The table of elements as it stands in a log of 80 columns."""

import io

import pytest
from rich.console import Console

from gradcheck.reports.console import _fitting
from gradcheck.reports.wording import NUMBER_WIDTH, number
from gradcheck.results import Element, Finding


@pytest.mark.parametrize("value", [-1.2345e-4, 0.00012345, -123456.0, 1.2345e-12, -9.8765e30, 0.0, float("-inf")])
def test_a_number_takes_nine_characters_at_most(value):
    assert len(number(value)) <= NUMBER_WIDTH
    assert float(number(value)) == pytest.approx(value, rel=1e-3)


def test_a_row_of_long_numbers_stays_one_line():
    element = Element((12, 3), -1.2345e-4, -7.7081e-5, -7.7095e-5, -7.7095e-5, 8.2951e-9, 1.0761e-4, 7.7091e-10)
    finding = Finding("gradient-mismatch", "wrong", wrt="x", elements=(element, element))
    console = Console(file=io.StringIO(), width=80)
    console.print(_fitting(finding, 10, console))
    rows = [line for line in console.file.getvalue().splitlines() if "12,3" in line]
    assert len(rows) == 2
    assert all(len(row.split()) == 8 for row in rows)
