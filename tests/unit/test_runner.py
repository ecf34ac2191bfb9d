"""What the parent makes of a result that came from a process in which the user's code ran."""

from __future__ import annotations

from gradcheck.results import FAILED, PASSED, CaseResult, Finding
from gradcheck.runner import sound

WRONG = Finding("gradient-mismatch", "wrong", level="error")
ODD = Finding("inconclusive", "odd", level="warning")


def result(*findings, **more):
    return CaseResult("a::b", "a", 1, "b", PASSED, findings=findings, **more)


def test_a_pass_with_an_error_is_none():
    assert sound(result(WRONG)).status == FAILED


def test_expected_errors_and_warnings_pass():
    assert sound(result(WRONG, expected=("gradient-mismatch",))).status == PASSED
    assert sound(result(ODD)).status == PASSED


def test_a_clock_that_the_op_set_back_gives_no_negative_time():
    found = sound(result(duration_s=-5.0, phases_s={"import": -5.0, "trace": 0.1}))
    assert found.duration_s == 0.0
    assert found.phases_s == {"import": 0.0, "trace": 0.1}
