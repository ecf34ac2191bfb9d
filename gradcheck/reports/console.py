"""What people read: one line per case, tables of the worst elements, a summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from gradcheck.events import CaseFinished, CaseProgress, CaseStarted, Event, RunFinished, RunStarted
from gradcheck.reports.wording import (
    concise_lines,
    cost_line,
    counterexample_lines,
    errors_first,
    more_text,
    number,
    outcome_of,
    reach_lines,
    rerun_command,
    source_text,
    unmet_text,
    where,
)
from gradcheck.results import CaseResult, Element, Finding, RunSummary
from gradcheck.text import clean

STATUS = {
    "passed": ("PASS", "green"),
    "failed": ("FAIL", "red"),
    "errored": ("ERROR", "red"),
    "skipped": ("SKIP", "yellow"),
}
# A width in which every table fits.
UNBOUNDED = 1000
MAX_OUTPUT_LINES = 20


@dataclass(frozen=True, slots=True)
class View:
    """Say how much is shown: verbosity (0 is normal), elements per finding, the paths as typed; or a line per error."""

    verbosity: int = 0
    show: int = 5
    options: tuple[str, ...] = ()
    concise: bool = False


class ConsoleReport:
    """Print results on `out`; show progress on `err` if that is a terminal."""

    def __init__(self, out: Console, err: Console, view: View) -> None:
        self.out, self.view = out, view
        self.progress = _Progress(err)

    def handle(self, event: Event) -> None:
        """Print what an event tells."""
        self.progress.handle(event)
        if isinstance(event, CaseFinished):
            # Both streams may be one terminal: the live line must be off while results are printed.
            self.progress.pause()
            self._case(event.result)
            self.progress.resume()
        elif isinstance(event, RunFinished):
            self._print(_summary(event.summary, hint=self.view.verbosity < 1))
            if self.view.verbosity > 0 and event.summary.conditions.sides:
                self._print(Text(reach_lines(event.summary.conditions)[0]))

    def close(self) -> None:
        """Take the progress display away."""
        self.progress.stop()

    def _print(self, what: Text | Table) -> None:
        self.out.print(what, soft_wrap=isinstance(what, Text) and not self.out.is_terminal)

    def _case(self, result: CaseResult) -> None:
        quiet = (self.view.verbosity < 0 or self.view.concise) and result.status in ("passed", "skipped")
        if quiet:
            return
        if not self.view.concise:
            self._print(_line(result))
        good = result.status == "passed"
        if self.view.verbosity < 0 and not self.view.concise:
            return
        if result.status == "skipped":
            return
        for cost in () if self.view.concise else result.cost:
            self._print(_indent(clean(cost_line(cost))))
        if good and self.view.verbosity < 1:
            for note in result.notes if result.cost else ():
                self._print(_indent(f"note: {clean(note)}", "dim"))
            return
        if self.view.concise:
            for line in concise_lines(result):
                self._print(Text(line))
            return
        before = ""
        for finding in errors_first(result.findings):
            source = source_text(finding)
            self._finding(finding, "" if source == before else source)
            before = source
        for want in result.missing:
            self._print(_indent(unmet_text(result, want), "bold red"))
        if result.reason:
            self._print(_indent(f"reason: {clean(result.reason)}"))
        for note in result.notes:
            self._print(_indent(f"note: {clean(note)}", "dim"))
        if self.view.verbosity > 0:
            self._details(result)
        if not good:
            self._print(_indent(f"rerun: {rerun_command(result, self.view.options)}", "dim"))

    def _finding(self, finding: Finding, source: str) -> None:
        style = "red" if finding.level == "error" else "yellow"
        text = Text("  ")
        text.append(finding.label, style=f"bold {style}")
        place = ", ".join(part for part in (where(finding), finding.dtype) if part)
        text.append(f" [{clean(finding.wrt)}]" if finding.wrt else "")
        text.append(f" ({place})" if place else "", style="dim")
        text.append(f": {clean(finding.message)}")
        self._print(text)
        if source and not (finding.traceback and finding.level == "error"):
            self._print(_indent(source, "bold"))
        if finding.traceback and finding.level == "error":
            for line in clean(finding.traceback).splitlines()[-MAX_OUTPUT_LINES:]:
                self._print(_indent(line, "dim"))
        if finding.elements:
            self._print(_fitting(finding, self.view.show, self.out))
            more = more_text(finding, self.view.show)
            if more:
                self._print(_indent(more, "dim"))
        for line in counterexample_lines(finding):
            self._print(_indent(clean(line)))
        if finding.fix:
            self._print(_indent(f"fix (verified): {clean(finding.fix)}", "green"))
        if finding.hint:
            self._print(_indent(f"hint: {clean(finding.hint)}", "cyan"))

    def _details(self, result: CaseResult) -> None:
        phases = ", ".join(f"{name} {spent:.2f} s" for name, spent in result.phases_s.items() if spent >= 0.005)
        self._print(
            _indent(f"seed {result.seed}; reference: {result.reference or '-'}; coverage: {result.coverage}", "dim")
        )
        self._print(
            _indent(
                f"{result.elements} elements, {result.inconclusive} inconclusive,"
                f" max error {result.max_abs_error:.2g} absolute, {result.max_rel_error:.2g} relative",
                "dim",
            )
        )
        self._print(_indent(phases, "dim"))
        for exempted in result.exemptions:
            count = f"{exempted.elements} element{'s' * (exempted.elements != 1)}"
            self._print(_indent(f"exempt in {clean(exempted.check)}: {count}: {clean(exempted.reason)}", "dim"))
        for line in reach_lines(result.conditions):
            self._print(_indent(clean(line), "dim"))
        for skipped in result.skipped_checks:
            self._print(_indent(f"skipped {clean(skipped.name)}: {clean(skipped.reason)}", "dim"))


class _Progress:
    """Show cases done, the current case and its phase, and the time."""

    def __init__(self, console: Console) -> None:
        self.phases: dict[str, str] = {}
        live = console.file.isatty() and console.is_interactive
        columns = (SpinnerColumn("line"), TextColumn("{task.completed}/{task.total}", markup=False))
        detail = TextColumn("{task.description}", markup=False)
        self.display = Progress(
            *columns, detail, TimeElapsedColumn(), console=console, transient=True, disable=not live
        )
        self.task: TaskID | None = None

    def handle(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.display.start()
            self.task = self.display.add_task("starting TensorFlow", total=event.cases)
        elif isinstance(event, CaseStarted):
            self.phases[event.id] = "waiting for TensorFlow" if not self.phases else "start"
        elif isinstance(event, CaseProgress):
            self.phases[event.id] = event.phase
        elif isinstance(event, CaseFinished):
            self.phases.pop(event.result.id, None)
            if self.task is not None:
                self.display.advance(self.task)
        elif isinstance(event, RunFinished):
            self.stop()
        if self.task is not None and self.phases:
            now = "; ".join(f"{clean(case)}: {phase}" for case, phase in list(self.phases.items())[:2])
            self.display.update(self.task, description=now)

    def pause(self) -> None:
        self.display.stop()

    def resume(self) -> None:
        if self.task is not None and not self.display.finished:
            self.display.start()

    def stop(self) -> None:
        self.display.stop()


def _ascii(console: Console) -> bool:
    return not (console.encoding or "").lower().startswith("utf")


def _indent(text: str, style: str = "") -> Text:
    return Text("\n".join(f"    {line}" for line in text.splitlines()), style=style)


def _line(result: CaseResult) -> Text:
    word, colour = STATUS[result.status]
    text = Text()
    text.append(f"{word:<5}", style=f"bold {colour}")
    text.append(f" {clean(result.id)}")
    words = outcome_of(result)
    if words:
        text.append(f"  {' '.join(words.split())}", style=colour if result.status != "passed" else "dim")
    text.append(f"  {result.duration_s:.1f} s" if result.status != "skipped" else "", style="dim")
    return text


def _fitting(finding: Finding, show: int, console: Console) -> Table:
    """Return the table of elements, its columns closer together where the console is narrow."""
    wide = _table(finding, show, _ascii(console), gap=1)
    needed = Measurement.get(console, console.options.update_width(UNBOUNDED), wide).maximum
    return wide if needed <= console.width else _table(finding, show, _ascii(console), gap=0)


def _table(finding: Finding, show: int, ascii_only: bool, gap: int) -> Table:
    title = f"worst elements of {clean(finding.wrt)}" if finding.wrt else "worst elements"
    style = box.ASCII if ascii_only else box.SIMPLE_HEAD
    table = Table(title=title, title_justify="left", title_style="", box=style, padding=(0, gap), pad_edge=False)
    modes = list(finding.elements[0].modes or {})
    table.add_column("index", overflow="fold", no_wrap=True)
    errors = ("abs\nerror",) if modes else ("abs\nerror", "rel\nerror", "toler-\nance")
    for name in (
        "input",
        "analytic",
        *(mode.replace(", ", "\n") for mode in modes),
        "autodiff",
        "finite\ndiff",
        *errors,
    ):
        table.add_column(Text(name), justify="right", overflow="fold")
    for element in finding.elements[:show]:
        table.add_row(*_row(element, modes))
    return table


def _row(element: Element, modes: list[str]) -> list[Text]:
    index = ",".join(map(str, element.index)) if element.index else "()"
    cells = [index, number(element.input), number(element.analytic)]
    cells += [number(element.modes.get(mode)) for mode in modes]
    cells += [number(element.autodiff), number(element.finite_difference)]
    cells += [number(element.abs_error)]
    if not modes:
        cells += [number(element.rel_error), number(element.tolerance)]
    return [Text(cell) for cell in cells]


def _summary(summary: RunSummary, hint: bool) -> Text:
    parts: Mapping[str, int] = {
        "passed": summary.passed,
        "failed": summary.failed,
        "errored": summary.errored,
        "skipped": summary.skipped,
        "not run": summary.not_run,
    }
    text = Text("\n")
    bad = summary.failed + summary.errored
    counts = ", ".join(f"{count} {name}" for name, count in parts.items() if count) or "nothing run"
    warnings = f", {summary.warnings} warning{'s' * (summary.warnings != 1)}" if summary.warnings else ""
    warnings += " (-v shows them)" if warnings and hint else ""
    stopped = "" if summary.stop_reason == "completed" else f" (stopped: {summary.stop_reason})"
    text.append(f"{counts}{warnings} in {summary.duration_s:.1f} s{stopped}", style="bold red" if bad else "bold green")
    return text
