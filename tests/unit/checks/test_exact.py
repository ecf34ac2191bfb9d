"""What exact arithmetic says at the smallest input decides whether a finding there stands."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from gradcheck.checks.exact import held_exactly
from gradcheck.measure.exact import ExactPoint
from gradcheck.results import DIFFERENT, IDENTICAL, OPEN, Exact, Exempted, Finding

X = np.array([3.0])
MISMATCH = Finding("gradient-mismatch", "wrong at 3", "region")


def lab_that_says(verdict, followed=True):
    exact = SimpleNamespace(is_followed=followed, at=lambda x, upstream: ExactPoint(Exact(verdict, 80), x))
    return SimpleNamespace(exact=exact, precision=SimpleNamespace(on_alive=lambda upstream: upstream), cotangent=X)


def test_a_gradient_that_is_the_derivative_is_not_blamed():
    said, exempted = held_exactly(lab_that_says(IDENTICAL), MISMATCH, [X])
    assert (said.verdict, type(exempted)) == (IDENTICAL, Exempted)


def test_a_gradient_that_is_another_one_is_blamed_and_the_verdict_told():
    said, finding = held_exactly(lab_that_says(DIFFERENT), MISMATCH, [X])
    assert (said.verdict, finding) == (DIFFERENT, MISMATCH)


@pytest.mark.parametrize(
    "lab", [lab_that_says(OPEN), lab_that_says(IDENTICAL, followed=False), SimpleNamespace(exact=None)]
)
def test_where_nothing_is_decided_the_finding_stands(lab):
    assert list(held_exactly(lab, MISMATCH, [X])) == [MISMATCH]


def test_where_the_smallest_input_is_a_tie_the_first_failing_one_decides():
    lab = lab_that_says(OPEN)
    verdicts = iter((OPEN, DIFFERENT))
    lab.exact.at = lambda x, upstream: ExactPoint(Exact(next(verdicts)), x)
    assert [type(item) for item in held_exactly(lab, MISMATCH, [X, X])] == [Exact, Finding]


def test_a_gradient_that_is_no_number_stays_blamed_whatever_its_formula_is():
    finding = Finding("gradient-nonfinite", "NaN at 3")
    assert list(held_exactly(lab_that_says(IDENTICAL), finding, [X, X])) == [finding]
