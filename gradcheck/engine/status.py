# SPDX-License-Identifier: Apache-2.0
"""Whether a case passed: by its errors, or by what it expects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gradcheck.diagnose.finding import level_of
from gradcheck.engine.unspecified import needs_input
from gradcheck.findings import CATALOGUE, ERROR
from gradcheck.results import ERRORED, FAILED, FAULT, PASSED, SKIPPED, CaseResult, Finding
from gradcheck.spec.model import Case


def judged(result: CaseResult, case: Case) -> CaseResult:
    """Return the result with its status: by its errors, or by what the case expects.

    With `expect`, the case passes only if exactly the listed errors are found; warnings that
    are not listed do not count.  A fault of gradcheck's own meets no expectation.
    """
    if case.expect:
        return _judged_by_expectation(result, case)
    if any(f.level == ERROR and CATALOGUE[f.code].errored for f in result.findings):
        return replace(result, status=ERRORED)
    failed = any(f.level == ERROR for f in result.findings)
    return replace(result, status=FAILED if failed else PASSED)


def _judged_by_expectation(result: CaseResult, case: Case) -> CaseResult:
    expect = case.expect
    found = [f for f in result.findings if f.label != FAULT]
    met = {want for want in expect for f in found if want in (f.code, f.label)}
    surplus = [f for f in result.findings if f.level == ERROR and (f.label == FAULT or not _is_expected(f, expect))]
    missing = tuple(want for want in expect if want not in met)
    status = PASSED if not missing and not surplus else FAILED
    if any(f.label == FAULT for f in surplus):
        status = ERRORED
    return replace(result, status=status, expected=case.expect, missing=missing, expect_line=case.expect_line)


def _is_expected(finding: Finding, expect: tuple[str, ...]) -> bool:
    return finding.code in expect or finding.label in expect


def unfinished(
    case: Case, finding: Finding, duration_s: float, output: str = "", phases_s: Mapping[str, float] | None = None
) -> CaseResult:
    """Return the result of a case whose process did not live to report."""
    finding = replace(finding, level=level_of(finding))
    result = CaseResult(
        case.id,
        case.spec,
        case.line,
        case.name,
        ERRORED,
        duration_s,
        phases_s=rounded(phases_s or {}),
        seed=case.seed,
        findings=(finding,),
        output=output,
    )
    if case.guess and set(result.phases_s) <= {"import"}:
        # Phases after the import begin when inputs were found.
        return replace(result, status=SKIPPED, reason=needs_input(case, f"{finding.message}, while inputs were tried"))
    return judged(result, case)


def rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return seconds by phase with four digits after the point, as reports show them."""
    return {name: round(spent, 4) for name, spent in seconds.items()}
