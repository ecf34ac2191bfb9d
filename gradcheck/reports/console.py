# SPDX-License-Identifier: Apache-2.0
"""What people read while a run goes on: one line per case, what failed in full, a list of failures, a summary."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from gradcheck.events import CaseFinished, CaseProgress, CaseStarted, Event, RunFinished, RunStarted
from gradcheck.reports.blocks import MARGIN, Line, View, blocks_of, line_of
from gradcheck.reports.wording import concise_lines, exact_counts, failure_line, reach_lines
from gradcheck.results import CaseResult, RunSummary
from gradcheck.text import clean

__all__ = ["ConsoleReport", "View"]


class ConsoleReport:
    """Print results on `out`; show progress on `err` if that is a terminal."""

    def __init__(self, out: Console, err: Console, view: View) -> None:
        self.out, self.view = out, view
        self.progress = _Progress(err)
        self._failures: list[CaseResult] = []
        # The first case of each module that cannot be imported, by the traceback.
        self._not_imported: dict[str, str] = {}
        self._spent: list[tuple[float, str]] = []
        # Whether something was printed, and whether that was a block, which a blank line ends.
        self._printed = self._in_block = False

    def handle(self, event: Event) -> None:
        """Print what an event tells."""
        self.progress.handle(event)
        if isinstance(event, CaseFinished):
            # Both streams may be one terminal: the live line must be off while results are printed.
            self.progress.pause()
            self._case(event.result)
            self.progress.resume()
        elif isinstance(event, RunFinished):
            self._end(event.summary)

    def close(self) -> None:
        """Take the progress display away."""
        self.progress.stop()

    def _print(self, what: RenderableType) -> None:
        self.out.print(what, soft_wrap=isinstance(what, Text) and not self.out.is_terminal)

    def _case(self, result: CaseResult) -> None:
        self._spent.append((result.duration_s, result.id))
        bad = result.status not in ("passed", "skipped")
        if bad:
            self._failures.append(result)
        if self.view.concise:
            for line in concise_lines(result) if bad else ():
                self._print(Text(line))
            return
        if bad or self.view.verbosity >= 0:
            self._in_full(result, bad)

    def _in_full(self, result: CaseResult, bad: bool) -> None:
        told = self.view.verbosity >= 0 and result.status != "skipped"
        first = self._first_not_imported(result)
        if told and first != result.id:
            blocks: list[Line | Table] = [Line(f"its module cannot be imported: see {clean(first)}", "dim")]
        else:
            blocks = list(blocks_of(result, self.view, self.out)) if told else []
        if self._in_block or (blocks and bad and self._printed):
            self._print(Text())
        self._print(line_of(result))
        for block in blocks:
            self._print(
                block.on(self.out) if isinstance(block, Line) else Padding(block, (0, 0, 0, MARGIN), expand=False)
            )
        self._printed, self._in_block = True, bool(blocks) and bad

    def _first_not_imported(self, result: CaseResult) -> str:
        """Return the case at which it was said why the module of this one cannot be imported, else the case itself."""
        errors = [finding for finding in result.findings if finding.code == "import-error"]
        said = errors[0].traceback or errors[0].message if errors else result.id
        return self._not_imported.setdefault(said, result.id)

    def _end(self, summary: RunSummary) -> None:
        listed = summary.cases > 1 and self.view.verbosity >= 0 and not self.view.concise
        if listed and self._failures:
            self._print(Text("\nfailures:", style="bold"))
            for result in self._failures:
                self._print(Line(failure_line(result), "red", MARGIN).on(self.out))
        slowest = sorted(self._spent, reverse=True)[: self.view.durations]
        if slowest:
            self._print(Text("\nslowest:", style="bold"))
        for seconds, case in slowest:
            self._print(Line(f"{seconds:6.1f} s  {clean(case)}", margin=MARGIN).on(self.out))
        self._print(_summary(summary, hint=self.view.verbosity < 1))
        if self.view.verbosity > 0 and summary.conditions.sides:
            self._print(Text(reach_lines(summary.conditions)[0]))
        if summary.exact and self.view.verbosity >= 0:
            self._print(Text(f"exact: {exact_counts(summary.exact)}"))


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
