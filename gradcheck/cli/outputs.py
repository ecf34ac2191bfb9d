# SPDX-License-Identifier: Apache-2.0
"""Where a run reports: standard output in one format, and any number of files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from gradcheck.cli.consoles import make_consoles
from gradcheck.cli.streams import write_to_nobody
from gradcheck.errors import UsageError
from gradcheck.events import Event
from gradcheck.files import write_whole
from gradcheck.results import INTERRUPTED, TERMINATED, RunSummary
from gradcheck.scanning.coverage import Scan
from gradcheck.spec.model import Case


class _Handler(Protocol):
    def handle(self, event: Event) -> None: ...


class _Report(_Handler, Protocol):
    def text(self) -> str: ...


STOPPED = {INTERRUPTED: 130, TERMINATED: 143}
FILES = {
    "json_file": "--json",
    "junit": "--junit",
    "html": "--html",
    "sarif": "--sarif",
    "code_quality": "--code-quality",
}


@dataclass(slots=True)
class Outputs:
    """Hold every handler of a run's events, and the files that are written at its end."""

    handlers: list[_Handler]
    files: list[tuple[Path, _Report]]
    printed: _Report | None
    console: Any
    saved: Any
    out: Any
    err: Any
    problems: list[str] = field(default_factory=list)

    def handle(self, event: Event) -> None:
        """Give an event to every handler; one that cannot write is left out, the others go on.

        That a reader went away (`| head`) is no problem: the files and the verdict stay.
        """
        for handler in list(self.handlers):
            try:
                handler.handle(event)
            except BrokenPipeError:
                self.handlers.remove(handler)
                write_to_nobody()
            except OSError as error:
                self.handlers.remove(handler)
                self.problems.append(f"cannot write to standard output: {error.strerror or error}")

    def close(self) -> None:
        """Take the progress display away."""
        if self.console is not None:
            self.console.close()

    def finish(self) -> None:
        """Print and write the reports; every file is tried before an error is raised.

        Raises UsageError naming the files that could not be written.
        """
        problems = self.problems
        for path, report in self.files:
            try:
                write_whole(path, report.text())
            except OSError as error:
                problems.append(f"cannot write {path}: {error.strerror or error}")
        if self.printed is not None:
            try:
                self.out.file.write(self.printed.text() + "\n")
                self.out.file.flush()
            except BrokenPipeError:
                write_to_nobody()
            except OSError as error:
                problems.append(f"cannot write to standard output: {error.strerror or error}")
        for path in self.saved.written if self.saved is not None else ():
            self.err.print(f"saved: gradcheck run {path}", soft_wrap=True)
        if problems:
            raise UsageError("; ".join(problems))


def check_files(options: Mapping[str, Any]) -> None:
    """Refuse now, not after the run, what cannot be written.

    Raises UsageError.
    """
    specs = {os.path.realpath(path.partition("::")[0]) for path in options["paths"]}
    taken: dict[str, str] = {}
    for key, flag in FILES.items():
        if options.get(key) is None:
            continue
        path = os.path.realpath(options[key])
        if path in specs or path.endswith((".yaml", ".yml")):
            raise UsageError(f"{flag} {options[key]}: would write over a spec; give the report another name")
        if path in taken:
            raise UsageError(f"{flag} {options[key]}: {taken[path]} writes there already")
        taken[path] = flag
        _check_writable(Path(options[key]), flag)
    if options["save_failures"] is not None:
        writable_folder("--save-failures", options["save_failures"])


def writable_folder(flag: str, text: str) -> Path:
    """Return a folder that can be written to, made if it was not there.

    Raises UsageError.
    """
    folder = Path(text)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"{flag} {folder}: {error.strerror or error}") from None
    return folder


def keep_modules(options: Mapping[str, Any], cases: Iterable[Case]) -> None:
    """Refuse reports that would write over a module that is checked.

    Raises UsageError.
    """
    modules = {os.path.realpath(case.module) for case in cases if case.module.endswith(".py")}
    for key, flag in FILES.items():
        if options.get(key) is not None and os.path.realpath(options[key]) in modules:
            raise UsageError(f"{flag} {options[key]}: would write over a module; give the report another name")


def _check_writable(path: Path, flag: str) -> None:
    folder = path.parent
    if not folder.is_dir():
        raise UsageError(f"{flag} {path}: there is no folder {folder}")
    if path.is_dir():
        raise UsageError(f"{flag} {path}: is a folder")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise UsageError(f"{flag} {path}: no permission")


def make_outputs(
    options: Mapping[str, Any],
    cases: list[Case],
    stated: Mapping[str, Any],
    rerun: Iterable[str],
    scan: Scan | None = None,
) -> Outputs:
    """Return the handlers that the options ask for; `scan` is what the page and GitHub's summary list besides."""
    from gradcheck.reports.console import ConsoleReport, View

    out, err = make_consoles(options["color"])
    form = options["form"]
    files = [(Path(options[key]), _report(key, stated, scan)) for key in FILES if options.get(key) is not None]
    printed = _report("json_file", stated, None) if form == "json" else None
    handlers: list[_Handler] = [*(report for _, report in files), *([printed] if printed else [])]
    console = None
    if form in ("console", "github"):
        concise = options.get("output") == "concise"
        view = View(
            options["verbose"] - options["quiet"], options["show"], tuple(rerun), concise, options.get("durations") or 0
        )
        console = ConsoleReport(out, err, view)
        handlers.append(console)
    if form == "github":
        from gradcheck.reports.github import GithubReport

        summary = os.environ.get("GITHUB_STEP_SUMMARY")
        handlers.append(GithubReport(out.file, Path(summary) if summary else None, scan))
    if form == "jsonl":
        from gradcheck.reports.jsonlines import JsonLines

        handlers.append(JsonLines(out.file, stated))
    saved = None
    if options["save_failures"] is not None:
        from gradcheck.reports.failures import FailureSpecs

        saved = FailureSpecs(cases)
        handlers.append(saved)
    return Outputs(handlers, files, printed, console, saved, out, err)


def wants_scan(options: Mapping[str, Any]) -> bool:
    """Return whether a report is asked for that lists the custom gradients of the checked modules."""
    return options["html"] is not None or options["form"] == "github"


def _report(key: str, stated: Mapping[str, Any], scan: Scan | None) -> _Report:
    if key == "junit":
        from gradcheck.reports.junit import JunitReport

        return JunitReport()
    if key in ("sarif", "code_quality"):
        from gradcheck.reports.annotations import CodeQualityReport, SarifReport

        return SarifReport() if key == "sarif" else CodeQualityReport()
    if key == "html":
        from gradcheck.reports.html import HtmlReport

        return HtmlReport(stated, scan)
    from gradcheck.reports.jsonfile import JsonReport

    return JsonReport(stated)


def exit_code(summary: RunSummary, bad_specs: bool = False, least_conditions: float | None = None) -> int:
    """Return the exit code of a run.

    `bad_specs` says that specs with errors were left out, `least_conditions` how many of 100 sides must be reached.
    """
    if summary.stop_reason in STOPPED:
        return STOPPED[summary.stop_reason]
    if summary.faults:
        return 3
    if bad_specs:
        return 2
    too_few = least_conditions is not None and summary.conditions.percent < least_conditions
    return 1 if summary.failed or summary.errored or too_few else 0
