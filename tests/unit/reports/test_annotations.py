"""Findings for code hosts: at the op's line, known again in the next run, without those that the case expects."""

import json

from gradcheck.events import CaseFinished
from gradcheck.reports.annotations import CodeQualityReport, SarifReport
from gradcheck.results import CaseResult, Finding, Source

SOURCE = Source("ops.py", 9, "grad", "return dy * 3.0 * x")
WRONG = Finding("gradient-mismatch", "wrong by 1.5", "sign-flip", "error", "turn the sign", "x", "eager", source=SOURCE)
WARNED = Finding("sparse-upstream", "fails for IndexedSlices", level="warning")


def case(*findings, **more):
    return CaseResult("spec.yaml::op", "spec.yaml", 3, "op", "failed", findings=findings, **more)


def text(report, *cases):
    for one in cases:
        report.handle(CaseFinished(one))
    return json.loads(report.text())


def test_sarif_names_rule_level_and_line():
    (run,) = text(SarifReport(), case(WRONG, WARNED))["runs"]
    first, second = run["results"]
    assert first["ruleId"] == "gradient-mismatch"
    assert first["level"] == "error"
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "ops.py"
    assert place["region"]["startLine"] == 9
    # What has no line of its own stands at the case.
    assert second["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "spec.yaml"
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} >= {"gradient-mismatch", "sparse-upstream"}


def test_code_quality_is_what_gitlab_reads():
    (entry,) = text(CodeQualityReport(), case(WRONG))
    assert set(entry) == {"description", "check_name", "fingerprint", "severity", "location"}
    assert entry["location"] == {"path": "ops.py", "lines": {"begin": 9}}
    assert entry["severity"] == "major"


def test_a_finding_is_known_again_though_its_numbers_changed():
    other = Finding("gradient-mismatch", "wrong by 1.7", "sign-flip", "error", "turn the sign", "x", "eager")
    (one,), (two,) = text(CodeQualityReport(), case(WRONG)), text(CodeQualityReport(), case(other))
    assert one["fingerprint"] == two["fingerprint"]


def test_what_a_case_expects_is_not_annotated_and_what_it_misses_is():
    assert text(CodeQualityReport(), case(WRONG, expected=("gradient-mismatch",))) == []
    (entry,) = text(CodeQualityReport(), case(missing=("gradient-shape",), expect_line=7))
    assert entry["location"] == {"path": "spec.yaml", "lines": {"begin": 7}}
    (run,) = text(SarifReport(), case(missing=("gradient-shape",), expect_line=7))["runs"]
    assert "ruleId" not in run["results"][0]
