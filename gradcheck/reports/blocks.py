# SPDX-License-Identifier: Apache-2.0
"""A case as people read it: its line, and below it one block for each finding."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from rich import box
from rich.console import Console, JustifyMethod, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gradcheck.reports.elements import DERIVED, MOST_DERIVED, Column, columns_of, narrower
from gradcheck.reports.wording import (
    compared_line,
    cost_line,
    counterexample_lines,
    errors_first,
    exact_line,
    label_of,
    more_text,
    outcome_of,
    place_of,
    reach_lines,
    rerun_command,
    source_place,
    unmet_text,
)
from gradcheck.results import CaseResult, Finding
from gradcheck.text import clean

STATUS = {
    "passed": ("PASS", "green"),
    "failed": ("FAIL", "red"),
    "errored": ("ERROR", "red"),
    "skipped": ("SKIP", "yellow"),
}
# Columns of space before the text of a finding, and before a block that belongs to it.
MARGIN, INDENT = 2, 4
# A width in which every table fits.
UNBOUNDED = 1000
MAX_OUTPUT_LINES = 20
COLOURS = {"error": "red", "warning": "yellow"}


@dataclass(frozen=True, slots=True)
class Line:
    """Hold a line of text and its indent, which the parts of a wrapped line keep."""

    text: str
    style: str = ""
    margin: int = INDENT

    def on(self, console: Console) -> RenderableType:
        """Return it wrapped for a terminal; what reads a pipe gets the line whole."""
        if console.is_terminal:
            return Padding(Text(self.text, style=self.style), (0, 0, 0, self.margin))
        return Text(" " * self.margin + self.text, style=self.style)


@dataclass(frozen=True, slots=True)
class View:
    """Say how much is shown: verbosity (0 is normal), elements per finding, the paths as typed; or a line per error.

    `durations` is how many of the slowest cases are listed at the end.
    """

    verbosity: int = 0
    show: int = 5
    options: tuple[str, ...] = ()
    concise: bool = False
    durations: int = 0


def line_of(result: CaseResult) -> Text:
    """Return the line of a case: status, id, its findings in a few words, seconds."""
    word, colour = STATUS[result.status]
    text = Text()
    text.append(f"{word:<5}", style=f"bold {colour}")
    text.append(f" {clean(result.id)}")
    words = outcome_of(result)
    if words:
        text.append(f"  {' '.join(words.split())}", style=colour if result.status != "passed" else "dim")
    text.append(f"  {result.duration_s:.1f} s" if result.status != "skipped" else "", style="dim")
    return text


def blocks_of(result: CaseResult, view: View, console: Console) -> Iterator[Line | Table]:
    """Yield what a case says below its line: its findings, errors first, and how to run it again."""
    good = result.status == "passed"
    for cost in result.cost:
        yield Line(clean(cost_line(cost)))
    if good and view.verbosity < 1:
        for note in result.notes if result.cost else ():
            yield Line(f"note: {clean(note)}", "dim")
        return
    findings = errors_first(result.findings)
    before, fixes = "", set[tuple[object, str]]()
    for number, finding in enumerate(findings):
        cure = (finding.source and (finding.source.file, finding.source.line), finding.fix)
        if finding.fix and cure in fixes:
            yield Line(clean(label_of(finding)), f"bold {COLOURS[finding.level]}", MARGIN)
            yield Line("the line above mends this too", "dim")
            continue
        fixes.add(cure)
        if number and finding.elements:
            yield Line("")
        source = place_of(finding)
        labelled = len(findings) > 1 or finding.level != "error"
        yield from _finding(finding, view, console, labelled, placed=not number or source != before)
        before = source
    for want in result.missing:
        yield Line(unmet_text(result, want), "bold red", MARGIN)
    if result.reason:
        yield Line(f"reason: {clean(result.reason)}", margin=MARGIN)
    for note in result.notes:
        yield Line(f"note: {clean(note)}", "dim", MARGIN)
    if view.verbosity > 0:
        yield from _details(result, everything=view.verbosity > 1)
    if not good:
        yield Line(f"rerun: {rerun_command(result, view.options)}", "dim", MARGIN)


def _finding(finding: Finding, view: View, console: Console, labelled: bool, placed: bool) -> Iterator[Line | Table]:
    colour = COLOURS[finding.level]
    if labelled:
        yield Line(clean(label_of(finding)), f"bold {colour}", MARGIN)
    raised = finding.traceback is not None and finding.level == "error"
    if finding.source is not None and placed and not raised:
        yield Line(source_place(finding.source), "dim")
        if finding.source.text:
            yield Line(clean(finding.source.text), "bold", INDENT + MARGIN)
    way = place_of(finding)
    yield Line(clean(finding.message) + (f" ({way})" if way else ""))
    if finding.traceback is not None and raised:
        for line in _frames(clean(finding.traceback)):
            yield Line(line, "dim")
    if finding.fix:
        yield Line(f"fix (verified): {clean(finding.fix)}", "green")
    if finding.elements:
        yield _fitting(finding, view.show, console)
        more = more_text(finding, view.show)
        if more:
            yield Line(more, "dim")
    for line in counterexample_lines(finding):
        yield Line(clean(line))
    if finding.hint and not finding.fix:
        yield Line(f"hint: {clean(finding.hint)}", "cyan")


def _frames(traceback: str) -> list[str]:
    """Return the end of a traceback, without its last line where that is the finding's message again."""
    lines = traceback.splitlines()
    if not lines[-1].startswith(" ") and (len(lines) == 1 or lines[-2].startswith(" ")):
        lines.pop()
    return lines[-MAX_OUTPUT_LINES:]


def _details(result: CaseResult, everything: bool) -> Iterator[Line]:
    phases = ", ".join(f"{name} {spent:.2f} s" for name, spent in result.phases_s.items() if spent >= 0.005)
    lines = [
        f"seed {result.seed}; reference: {result.reference or '-'}; coverage: {result.coverage}",
        compared_line(result),
        f"{result.elements} elements, {result.inconclusive} inconclusive,"
        f" max error {result.max_abs_error:.2g} absolute, {result.max_rel_error:.2g} relative",
        phases,
    ]
    for exempted in result.exemptions:
        count = f"{exempted.elements} element{'s' * (exempted.elements != 1)}"
        lines.append(f"exempt in {exempted.check}: {count}: {exempted.reason}")
    lines += [*reach_lines(result.conditions), exact_line(result.exact)]
    names: dict[str, list[str]] = {}
    for skipped in result.skipped_checks:
        if not (skipped.asked or everything):
            continue
        names.setdefault(skipped.reason, []).append(skipped.name)
    lines += [f"skipped {'; '.join(checks)}: {reason}" for reason, checks in names.items()]
    unasked = [skipped.name for skipped in result.skipped_checks if not (skipped.asked or everything)]
    lines += [f"skipped, not asked for (-vv says by what): {'; '.join(unasked)}"] if unasked else []
    for line in lines:
        if line:
            yield Line(clean(line), "dim")


def _ascii(console: Console) -> bool:
    return not (console.encoding or "").lower().startswith("utf")


def _fitting(finding: Finding, show: int, console: Console) -> Table:
    """Return the table of elements, closer and without what can be computed where the console is narrow."""
    columns = columns_of(finding, show)
    room = console.width - MARGIN
    for rank, gap in itertools.product((MOST_DERIVED + 1, MOST_DERIVED, DERIVED), (1, 0)):
        table = _table(narrower(columns, rank), _ascii(console), gap)
        if _width(table, console) <= room:
            break
    return table


def _width(table: Table, console: Console) -> int:
    return Measurement.get(console, console.options.update_width(UNBOUNDED), table).maximum


def _table(columns: list[Column], ascii_only: bool, gap: int) -> Table:
    style = box.ASCII if ascii_only else box.SIMPLE_HEAD
    table = Table(box=style, padding=(0, gap), pad_edge=False)
    for column in columns:
        justify: JustifyMethod = "left" if column.head == "index" else "right"
        table.add_column(Text(column.head.replace(", ", "\n")), justify=justify, no_wrap=True)
    for row in range(len(columns[0].cells)):
        table.add_row(*(Text(column.cells[row], style="red" if column.wrong else "") for column in columns))
    return table
