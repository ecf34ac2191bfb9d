# SPDX-License-Identifier: Apache-2.0
"""Findings and results as plain text, for reports that have no layout of their own."""

from __future__ import annotations

from gradcheck.reports.elements import columns_of
from gradcheck.reports.wording import (
    counterexample_lines,
    errors_first,
    label_of,
    outcome_of,
    place_of,
    source_text,
    unmet_text,
)
from gradcheck.results import CaseResult, Finding
from gradcheck.text import clean


def table_text(finding: Finding, show: int) -> str:
    """Return the worst elements as aligned text."""
    columns = columns_of(finding, show)
    if not columns or not columns[0].cells:
        return ""
    texts = [(column.head, *column.cells) for column in columns]
    widths = [max(map(len, text)) for text in texts]
    rows = zip(*texts, strict=True)
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def finding_text(finding: Finding, show: int = 5) -> str:
    """Return a finding in full: label, place, message, the user's lines, numbers and hint."""
    place = place_of(finding)
    first = label_of(finding) + (f" ({place})" if place else "")
    parts = [f"{first}: {finding.message}"]
    parts += [source_text(finding)] if finding.source and not finding.traceback else []
    parts += [finding.traceback] if finding.traceback and finding.level == "error" else []
    parts += [table_text(finding, show)] if finding.elements else []
    parts += counterexample_lines(finding)
    parts += [f"fix (verified): {finding.fix}"] if finding.fix else []
    parts += [f"hint: {finding.hint}"] if finding.hint and not finding.fix else []
    return clean("\n".join(parts))


def result_text(result: CaseResult, show: int = 5) -> str:
    """Return everything a failed case has to say, as plain text."""
    parts = [finding_text(finding, show) for finding in errors_first(result.findings)]
    parts += [unmet_text(result, want) for want in result.missing]
    parts += [f"reason: {result.reason}"] if result.reason else []
    return clean("\n".join(parts))


def failure_text(result: CaseResult) -> str:
    """Return what is wrong with a case: one line, then every finding in full."""
    return f"gradients of {clean(result.case)}: {outcome_of(result)}\n{result_text(result)}"


def checked_text(result: CaseResult, show: int = 5) -> str:
    """Return a case's verdict, and below it everything that it has to say."""
    words = outcome_of(result)
    first = f"gradients of {clean(result.case)}: {result.status}{', ' + words if words else ''}"
    counted = f"{result.elements} elements compared, largest relative error {result.max_rel_error:.2g}"
    return "\n".join(part for part in (first, result_text(result, show) or counted) if part)
