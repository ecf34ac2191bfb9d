# SPDX-License-Identifier: Apache-2.0
"""The table of the worst elements: which columns it has, and the text of their cells, for every report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gradcheck.reports.wording import DIGITS, number
from gradcheck.results import Element, Finding

# Columns that go first where a table is too wide: those that can be computed from others.
ALWAYS, DERIVED, MOST_DERIVED = 0, 1, 2
# From here on a relative error is told as a multiple.
MANY_TIMES = 10.0
# The most digits in which gradients are shown, where fewer do not show the difference.
MOST_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Column:
    """Hold one column; `wrong` marks the numbers that are accused, `rank` how early it is left out."""

    head: str
    cells: tuple[str, ...]
    wrong: bool = False
    rank: int = ALWAYS


def columns_of(finding: Finding, show: int) -> list[Column]:
    """Return the columns for the first `show` elements of a finding.

    Autodiff and finite difference are one column, `reference`, where they read the same.
    """
    elements = finding.elements[:show]
    modes = list(elements[0].modes) if elements else []
    digits = _digits(elements)
    columns = [
        Column("index", tuple(",".join(map(str, e.index)) or "()" for e in elements)),
        _numbers("input", [e.input for e in elements]),
        _numbers("upstream", [e.upstream for e in elements]),
        _numbers("analytic", [e.analytic for e in elements], wrong=not modes, digits=digits),
        *(_numbers(mode, [e.modes.get(mode) for e in elements], wrong=True, digits=digits) for mode in modes),
        *_references(elements, digits),
        _numbers("exact", [e.exact for e in elements], digits=digits),
        Column("digits", tuple(_agreeing(e) for e in elements), rank=DERIVED),
        _numbers("slope", [e.slope for e in elements], rank=MOST_DERIVED),
        _numbers("error", [e.abs_error for e in elements], rank=DERIVED),
        Column("relative", tuple(relative(e.rel_error) for e in elements)),
    ]
    return [column for column in columns if any(cell != "-" for cell in column.cells)]


def narrower(columns: Sequence[Column], rank: int) -> list[Column]:
    """Return the columns without those of a rank and above."""
    return [column for column in columns if column.rank < rank]


def relative(error: float) -> str:
    """Return a relative error as people say it: `50 %`, `0.02 %`, `12x`."""
    if not math.isfinite(error):
        return "-"
    if error >= MANY_TIMES:
        return f"{number(float(f'{error:.3g}'))}x"
    return f"{number(float(f'{100.0 * error:.3g}'))} %"


def _digits(elements: Sequence[Element]) -> int:
    """Return in how many digits the gradients are shown, so that the difference of each element is seen."""
    least = min((e.rel_error for e in elements if 0 < e.rel_error < 1), default=1.0)
    return min(max(DIGITS, math.ceil(-math.log10(least)) + 1), MOST_DIGITS)


def _agreeing(element: Element) -> str:
    """Return how many digits of the gradient are those of the exact derivative."""
    if element.exact is None:
        return "-"
    gap, size = abs(element.analytic - element.exact), abs(element.exact)
    if not (gap and size):
        return "0" if gap else "all"
    return str(max(0, math.floor(-math.log10(gap / size))))


def _numbers(
    head: str, values: Sequence[object], wrong: bool = False, rank: int = ALWAYS, digits: int = DIGITS
) -> Column:
    return Column(head, tuple(number(value, digits) for value in values), wrong, rank)


def _references(elements: Sequence[Element], digits: int) -> list[Column]:
    autodiff = _numbers("autodiff", [e.autodiff for e in elements], digits=digits)
    difference = _numbers("finite diff", [e.finite_difference for e in elements], digits=digits)
    if autodiff.cells == difference.cells:
        return [Column("reference", autodiff.cells)]
    return [autodiff, difference]
