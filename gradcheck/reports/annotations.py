# SPDX-License-Identifier: Apache-2.0
"""Findings by file and line, in the formats that code hosts show: SARIF 2.1.0 and GitLab's code quality report."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from gradcheck.findings import CATALOGUE
from gradcheck.reports.collected import Collected
from gradcheck.reports.json_data import dumped
from gradcheck.reports.plain import finding_text
from gradcheck.reports.wording import label_of, unmet_text
from gradcheck.results import CaseResult, Finding
from gradcheck.text import clean
from gradcheck.version import VERSION

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
UNMET = "expected"


class SarifReport(Collected):
    """Collect events; `text` is the SARIF log once the run has finished."""

    def text(self) -> str:
        """Return the log."""
        rules = [
            {"id": code, "shortDescription": {"text": info.meaning}, "help": {"text": info.remedy}}
            for code, info in CATALOGUE.items()
        ]
        driver = {"name": "gradcheck", "version": VERSION, "rules": rules}
        results = [_sarif(case, finding) for case in self.cases for finding in _told(case)]
        run = {"tool": {"driver": driver}, "results": results}
        return dumped({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1)


class CodeQualityReport(Collected):
    """Collect events; `text` is GitLab's report once the run has finished."""

    def text(self) -> str:
        """Return the report."""
        return dumped([_quality(case, finding) for case in self.cases for finding in _told(case)], indent=1)


def _told(case: CaseResult) -> Iterator[Finding]:
    """Yield what is to be annotated: findings that the case does not expect, and expectations that were not met."""
    for finding in case.findings:
        if not {finding.code, finding.label} & set(case.expected):
            yield finding
    for want in case.missing:
        yield Finding(UNMET, unmet_text(case, want), level="error", file=case.spec, line=case.expect_line or case.line)


def _place(case: CaseResult, finding: Finding) -> tuple[str, int]:
    if finding.source is not None:
        return clean(finding.source.file), max(finding.source.line, 1)
    if finding.file and finding.line:
        return clean(finding.file), finding.line
    return clean(case.spec), max(case.line, 1)


def _sarif(case: CaseResult, finding: Finding) -> dict[str, Any]:
    file, line = _place(case, finding)
    region = {"artifactLocation": {"uri": file}, "region": {"startLine": line}}
    result: dict[str, Any] = {
        "level": finding.level,
        "message": {"text": f"{clean(case.id)}: {_text(finding)}"},
        "locations": [{"physicalLocation": region}],
        "partialFingerprints": {"case/v1": _fingerprint(case, finding)},
    }
    return {"ruleId": finding.code, **result} if finding.code in CATALOGUE else result


def _quality(case: CaseResult, finding: Finding) -> dict[str, Any]:
    file, line = _place(case, finding)
    return {
        "description": f"{clean(label_of(finding))} ({clean(case.id)}): {clean(finding.message)}",
        "check_name": finding.code,
        "fingerprint": _fingerprint(case, finding),
        "severity": "major" if finding.level == "error" else "minor",
        "location": {"path": file, "lines": {"begin": line}},
    }


def _text(finding: Finding) -> str:
    return clean(finding.message) if finding.code == UNMET else finding_text(finding)


def _fingerprint(case: CaseResult, finding: Finding) -> str:
    """Return what a finding is known by in the next run: case, code and input, not its numbers."""
    known = f"{case.id} {label_of(finding)} {finding.mode}"
    return hashlib.sha256(known.encode("utf-8", "surrogateescape")).hexdigest()[:32]
