# SPDX-License-Identifier: Apache-2.0
"""JUnit XML, the format that CI systems read: failure, error and skipped apart."""

from __future__ import annotations

import re
from xml.etree import ElementTree as Xml

from gradcheck.reports.collected import Collected
from gradcheck.reports.plain import result_text
from gradcheck.reports.wording import outcome_of
from gradcheck.results import ERRORED, FAILED, SKIPPED, CaseResult

# What XML 1.0 cannot hold even when escaped.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class JunitReport(Collected):
    """Collect events; `text` is the XML once the run has finished."""

    def text(self) -> str:
        """Return the report: one suite per spec, one test case per case."""
        root = Xml.Element("testsuites", {"name": "gradcheck", **_counts(self.cases)})
        for spec in sorted({case.spec for case in self.cases}):
            cases = [case for case in self.cases if case.spec == spec]
            suite = Xml.SubElement(root, "testsuite", {"name": _plain(spec), **_counts(cases)})
            for case in sorted(cases, key=lambda c: c.line):
                suite.append(_case(case))
        Xml.indent(root)
        return '<?xml version="1.0" encoding="utf-8"?>\n' + Xml.tostring(root, encoding="unicode") + "\n"


def _counts(cases: list[CaseResult]) -> dict[str, str]:
    statuses = [case.status for case in cases]
    return {
        "tests": str(len(cases)),
        "failures": str(statuses.count(FAILED)),
        "errors": str(statuses.count(ERRORED)),
        "skipped": str(statuses.count(SKIPPED)),
        "time": f"{sum(case.duration_s for case in cases):.3f}",
    }


def _case(case: CaseResult) -> Xml.Element:
    element = Xml.Element(
        "testcase",
        name=_plain(case.case),
        classname=_plain(re.sub(r"\.ya?ml$", "", case.spec).replace("/", ".")),
        file=_plain(case.spec),
        line=str(case.line),
        time=f"{case.duration_s:.3f}",
    )
    properties = Xml.SubElement(element, "properties")
    for name, value in _properties(case):
        Xml.SubElement(properties, "property", name=name, value=_plain(value))
    kind = {FAILED: "failure", ERRORED: "error", SKIPPED: "skipped"}.get(case.status)
    if kind is not None:
        codes = [f.label for f in case.findings if f.level == "error"]
        outcome = Xml.SubElement(element, kind, message=_plain(outcome_of(case)))
        if kind != "skipped":
            outcome.set("type", codes[0] if codes else "expectation")
            outcome.text = _plain(result_text(case))
    if case.output:
        Xml.SubElement(element, "system-out").text = _plain(case.output)
    return element


def _properties(case: CaseResult) -> list[tuple[str, str]]:
    findings = [("finding", f"{finding.level}: {finding.label}") for finding in case.findings]
    return [
        ("seed", str(case.seed)),
        ("coverage", case.coverage),
        ("elements", str(case.elements)),
        ("max_abs_error", f"{case.max_abs_error:.6g}"),
        ("max_rel_error", f"{case.max_rel_error:.6g}"),
        *findings,
    ]


def _plain(text: str) -> str:
    return _FORBIDDEN.sub("?", text)
