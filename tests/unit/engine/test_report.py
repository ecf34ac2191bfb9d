"""A case's result adds up what was found at every sample in every dtype."""

from __future__ import annotations

from gradcheck.engine.report import Facts, Report, merged
from gradcheck.results import Exempted, Finding, Skipped


def report(*items, **facts):
    made = Report(facts=Facts(**facts))
    for item in items:
        made.add(item)
    return made


HALF = Finding("gradient-nonfinite", "", level="error", wrt="x", dtype="float16")
SINGLE = Finding("gradient-mismatch", "", "constant-factor", "error", wrt="x", dtype="float32")


def test_a_finding_of_one_dtype_stands_beside_that_of_another():
    assert merged([report(HALF), report(SINGLE)])["findings"] == (HALF, SINGLE)


def test_the_same_finding_at_two_samples_is_one():
    assert merged([report(HALF), report(HALF)])["findings"] == (HALF,)


def test_elements_add_up_and_the_worst_error_counts():
    found = merged([report(elements=3, max_abs_error=1.0), report(elements=4, inconclusive=1, max_abs_error=0.5)])
    assert (found["elements"], found["inconclusive"], found["max_abs_error"]) == (7, 1, 1.0)


def test_a_skipped_check_is_named_once_with_its_reason():
    skipped = Skipped("modes", "the op draws random numbers")
    assert merged([report(skipped), report(skipped)])["skipped_checks"] == (skipped,)


def test_exemptions_of_one_reason_add_up():
    found = merged([report(Exempted("a tie", "slopes", 2)), report(Exempted("a tie", "slopes", 3))])
    assert found["exemptions"] == (Exempted("a tie", "slopes", 5),)


def test_a_warning_is_no_error():
    warning = Finding("stale-state", "", level="warning")
    assert not report(warning).has_error()
    assert report(HALF).has_error({"gradient-nonfinite"})
    assert not report(HALF).has_error({"gradient-mismatch"})
