"""A case passes by its errors, or by what it expects."""

from __future__ import annotations

import pytest

from gradcheck.engine.status import judged
from gradcheck.results import ERRORED, FAILED, PASSED, CaseResult, Finding
from gradcheck.spec.model import Case


def status(findings, expect=()):
    case = Case("spec.yaml::x", "spec.yaml", 1, "x", "ops.py", "x", ".", {}, expect=tuple(expect))
    return judged(CaseResult("spec.yaml::x", "spec.yaml", 1, "x", PASSED, findings=tuple(findings)), case).status


MISMATCH = Finding("gradient-mismatch", "", "zero", "error")
WARNING = Finding("inconclusive", "", "kink", "warning")
RAISED = Finding("op-error", "", level="error")
OWN_FAULT = Finding("crashed", "", "internal", "error")


@pytest.mark.parametrize(
    ("findings", "expect", "wanted"),
    [
        ((), (), PASSED),
        ((WARNING,), (), PASSED),
        ((MISMATCH,), (), FAILED),
        ((MISMATCH, RAISED), (), ERRORED),
        ((MISMATCH,), ("gradient-mismatch",), PASSED),
        ((MISMATCH,), ("gradient-mismatch/zero",), PASSED),
        ((MISMATCH,), ("gradient-mismatch/sign-flip",), FAILED),
        ((), ("gradient-mismatch",), FAILED),
        ((MISMATCH, RAISED), ("gradient-mismatch",), FAILED),
        ((WARNING,), ("inconclusive/kink",), PASSED),
        ((OWN_FAULT,), ("crashed",), ERRORED),
    ],
)
def test_status(findings, expect, wanted):
    assert status(findings, expect) == wanted
