# SPDX-License-Identifier: Apache-2.0
"""Annotations and a step summary for GitHub Actions."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import IO

from gradcheck.events import CaseFinished, Event, RunFinished, RunStarted
from gradcheck.reports.plain import finding_text, result_text
from gradcheck.reports.wording import outcome_of, rerun_command
from gradcheck.results import ERRORED, FAILED, PASSED, CaseResult, Finding, RunSummary
from gradcheck.scanning.coverage import Scan
from gradcheck.text import clean

# GitHub shows ten annotations of a kind per step and takes summaries up to 1 MiB.
MAX_ANNOTATIONS = 10
MAX_SUMMARY_BYTES = 1_000_000
MAX_UNCOVERED = 50


class GithubReport:
    """Write `::error` lines at the end of the run, and the summary to GITHUB_STEP_SUMMARY.

    Until then GitHub is outcome to take no line for a command: text of specs, messages and tracebacks
    stand in the log, and a token that nobody can guess ends it.
    """

    def __init__(self, file: IO[str], summary_file: Path | None, scan: Scan | None = None) -> None:
        self.file, self.summary_file, self.scan = file, summary_file, scan
        self.cases: list[CaseResult] = []
        self.token = secrets.token_hex(16)

    def handle(self, event: Event) -> None:
        """Collect cases; write when the run has finished.

        Raises OSError if the summary file cannot be written to.
        """
        if isinstance(event, RunStarted):
            self.file.write(f"::stop-commands::{self.token}\n")
        elif isinstance(event, CaseFinished):
            self.cases.append(event.result)
        elif isinstance(event, RunFinished):
            self.file.write(f"::{self.token}::\n")
            self._annotate()
            if self.summary_file is not None:
                with self.summary_file.open("a", encoding="utf-8") as file:
                    file.write(summary_markdown(self.cases, event.summary))
                    if self.scan is not None and self.scan.sites:
                        file.write(coverage_markdown(self.scan))

    def _annotate(self) -> None:
        bad = sorted((case for case in self.cases if case.status in (FAILED, ERRORED)), key=_severity)
        for case in bad[:MAX_ANNOTATIONS]:
            self.file.write(_error(case) + "\n")
        if len(bad) > MAX_ANNOTATIONS:
            rest = len(bad) - MAX_ANNOTATIONS
            self.file.write(f"::notice title=gradcheck::{rest} more case{'s' * (rest != 1)} did not pass\n")
        warned = [(case, f) for case in self.cases if case.status == PASSED for f in _surprising(case)]
        for case, finding in warned[:MAX_ANNOTATIONS]:
            self.file.write(_annotation("warning", case, finding, finding_text(finding, 0)) + "\n")
        self.file.flush()


def _surprising(case: CaseResult) -> list[Finding]:
    known = case.expected
    return [f for f in case.findings if f.level == "warning" and f.code not in known and f.label not in known]


def _severity(case: CaseResult) -> tuple[bool, float, str]:
    return case.status != ERRORED, -case.max_rel_error, case.id


def _error(case: CaseResult) -> str:
    errors = [finding for finding in case.findings if finding.level == "error"]
    text = f"{result_text(case)}\nrerun: {rerun_command(case)}"
    return _annotation("error", case, errors[0] if errors else None, text)


def _annotation(kind: str, case: CaseResult, finding: Finding | None, text: str) -> str:
    """Return a workflow command at the op's line where that is known, else at the spec's."""
    file, line = case.spec, case.line
    if finding is not None and finding.file and finding.line:
        file, line = os.path.relpath(finding.file), finding.line
    title = f"{case.case}: {finding.label if finding else 'expectation not met'}"
    place = f"file={_property(file)},line={line},title={_property(title)}"
    return f"::{kind} {place}::{_data(text)}"


def _data(text: str) -> str:
    return clean(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def summary_markdown(cases: list[CaseResult], summary: RunSummary) -> str:
    """Return the step summary, cut at a case so that it stays under GitHub's limit."""
    bad = sorted((case for case in cases if case.status in (FAILED, ERRORED)), key=_severity)
    counts = f"{summary.passed} passed, {summary.failed} failed, {summary.errored} errored, {summary.skipped} skipped"
    stopped = "" if summary.stop_reason == "completed" else f" (stopped: {summary.stop_reason})"
    head = f"## gradcheck\n\n{counts} in {summary.duration_s:.1f} s{stopped}\n\n"
    if not bad:
        return head
    parts = [head, "| case | findings | max relative error |\n|---|---|---|\n"]
    size, shown = len(head.encode()), 0
    for case in bad:
        row = f"| {_code(case.id)} | {_cell(outcome_of(case))} | {case.max_rel_error:.3g} |\n"
        size += len(row.encode())
        if size > MAX_SUMMARY_BYTES // 2:
            break
        parts.append(row)
        shown += 1
    if shown < len(bad):
        parts.append(f"\n{len(bad) - shown} more did not pass.\n")
    for case in bad[:shown]:
        block = f"\n<details><summary>{_html(case.id)}</summary>\n\n{_fenced(result_text(case))}\n</details>\n"
        size += len(block.encode())
        if size > MAX_SUMMARY_BYTES:
            break
        parts.append(block)
    return "".join(parts)


def coverage_markdown(scan: Scan) -> str:
    """Return the custom gradients of the checked modules that nothing covers, and how many are covered."""
    missing = [site for site in scan.sites if not site.covered]
    head = f"\n{len(scan.sites)} custom gradients in the checked modules, {scan.percent:.0f} % covered\n"
    if not missing:
        return head
    rows = [f"| {_code(f'{s.file}:{s.line}')} | {_code(s.name)} | {s.kind} |\n" for s in missing[:MAX_UNCOVERED]]
    more = f"\n{len(missing) - MAX_UNCOVERED} more\n" if len(missing) > MAX_UNCOVERED else ""
    return f"{head}\n| not covered | custom gradient | kind |\n|---|---|---|\n{''.join(rows)}{more}"


def _cell(text: str) -> str:
    return clean(text).replace("\n", " ").replace("|", "\\|").replace("`", "'").replace("<", "&lt;")


def _code(text: str) -> str:
    """Return text between backticks, in which no entity is decoded."""
    plain = clean(text).replace("\n", " ").replace("|", "\\|").replace("`", "'")
    return f"`{plain}`"


def _html(text: str) -> str:
    return clean(text).replace("&", "&amp;").replace("<", "&lt;")


def _fenced(text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"
