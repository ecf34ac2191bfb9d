"""A step whose gradient is that of another function on purpose is no failure before somebody says which it is."""

from __future__ import annotations

import pytest

from gradcheck.engine.unspecified import confirming, judged_without_spec
from gradcheck.results import CaseResult, Finding
from gradcheck.spec.model import Case, Input

CASE = Case("ops.py::f", "f", "ops.py", ".", 1, "ops.py", "f", {"x": Input("x", (3,), "float32")})


def judged(*findings, status="failed"):
    return judged_without_spec(CaseResult("ops.py::f", "ops.py", 1, "f", status, findings=findings), CASE)


def mismatch(cause, hint):
    return Finding("gradient-mismatch", "it is wrong", cause, level="error", hint=hint, wrt="x")


def test_a_straight_through_step_is_confirmed_by_its_surrogate():
    result = judged(mismatch("straight-through", "declare the function whose gradient it is: `surrogate: identity`"))
    assert result.status == "skipped"
    assert confirming(result.reason) == "surrogate: identity"


def test_a_step_inside_a_larger_op_is_confirmed_by_the_rule_that_is_meant():
    result = judged(mismatch("straight-through", "if the rule is meant, declare it: `intended: [step]`"))
    assert result.status == "skipped"
    assert confirming(result.reason) == "intended: [step]"


def test_any_other_mistake_fails():
    result = judged(mismatch("sign-flip", "change the sign"))
    assert result.status == "failed"


def test_a_step_beside_a_mistake_fails():
    step = mismatch("straight-through", "declare `surrogate: identity`")
    assert judged(step, mismatch("sign-flip", "change the sign")).status == "failed"


@pytest.mark.parametrize("reason", ["", "needs an input: it raises", "write a spec with `surrogate: identity`"])
def test_what_is_skipped_for_another_reason_confirms_nothing(reason):
    assert confirming(reason) is None
