# SPDX-License-Identifier: Apache-2.0
"""Collect specs as pytest tests: one test per case, each in a process of its own.

With `--gradcheck-record`, check the custom gradients that the tests call, when all tests have run.
Nothing of gradcheck is imported until a spec is found or that is asked for, so other test runs pay nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

_REPORT = pytest.StashKey[str]()
SUFFIXES = (".gradcheck.yaml", ".gradcheck.yml")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option and the ini settings."""
    group = parser.getgroup("gradcheck")
    group.addoption(
        "--gradcheck-record",
        nargs="?",
        const="",
        default=None,
        metavar="DIR",
        help="check the custom gradients that the tests call; DIR takes specs of them",
    )
    parser.addini("gradcheck_files", "patterns of further spec files (*.gradcheck.yaml always are)", type="args")
    parser.addini("gradcheck_strict", "warnings of gradcheck fail a test", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Start the recorder, also in the workers of pytest-xdist, which inherit where to write."""
    if config.getoption("--gradcheck-record") is not None:
        from gradcheck.recording.suite import start

        start()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Check what this process recorded: a worker of pytest-xdist is ended soon after its last test."""
    asked = session.config.getoption("--gradcheck-record")
    is_worker = hasattr(session.config, "workerinput")
    # In a worker also under `gradcheck record -- -m pytest -n 2`, whose own process ends by itself.
    if asked is None and not (is_worker and "GRADCHECK_RECORD" in os.environ):
        return
    from gradcheck.recording.suite import finish

    finish()
    if not is_worker:
        text, wrong = _recorded(asked)
        session.config.stash[_REPORT] = text
        if wrong and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _recorded(asked: str) -> tuple[str, bool]:
    """Return what the recorded calls of all processes have shown, and whether a gradient is wrong."""
    import io
    import shutil

    from rich.console import Console

    from gradcheck.events import RunFinished
    from gradcheck.recorded import Plan, RecordedRun
    from gradcheck.recording.suite import settings
    from gradcheck.reports.console import ConsoleReport, View

    known = settings()
    if known is None:
        return "nothing was recorded", False
    page = io.StringIO()
    console = ConsoleReport(Console(file=page, width=100), Console(file=io.StringIO()), View())
    folder = Path(asked) if asked else None
    wrong = False
    try:
        recorded = RecordedRun.of(Plan(known, "pytest", "pytest --gradcheck-record", folder))
        for event in recorded.events():
            console.handle(event)
            if isinstance(event, RunFinished):
                wrong = bool(event.summary.failed or event.summary.errored)
        return "\n".join([page.getvalue().strip(), *recorded.conclude()]), wrong
    except OSError as error:
        return f"{page.getvalue()}gradcheck: {error}", True
    finally:
        console.close()
        shutil.rmtree(known.folder, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the verdicts of the recorded custom gradients."""
    text = terminalreporter.config.stash.get(_REPORT, None)
    if text is not None:
        terminalreporter.section("gradcheck")
        terminalreporter.write_line(text)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a file that is a spec by its name."""
    patterns = parent.config.getini("gradcheck_files")
    relative = file_path.as_posix()
    if file_path.name.endswith(SUFFIXES) or any(fnmatch(relative, p) or fnmatch(relative, f"*/{p}") for p in patterns):
        return SpecFile.from_parent(parent, path=file_path)
    return None


class SpecFile(pytest.File):
    """Hold a spec file."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield a test per case; a mistake in the spec is a collection error with its place."""
        from gradcheck.errors import GradcheckError
        from gradcheck.executors.processes import start_server
        from gradcheck.spec.discover import load

        try:
            specs = load([str(self.path)])
        except GradcheckError as error:
            raise self.CollectError(str(error)) from None
        start_server()
        for case in specs[0].cases:
            yield CaseItem.from_parent(self, name=case.name, case=case)


class Mismatch(Exception):
    """Carry the result of a case that did not pass."""

    def __init__(self, result: Any) -> None:
        super().__init__(result.case)
        self.result = result


class CaseItem(pytest.Item):
    """Check one case."""

    def __init__(self, *, case: Any, **more: Any) -> None:
        super().__init__(**more)
        self.case = case
        self.extra_keyword_matches.update(case.tags)

    def runtest(self) -> None:
        """Check the case; raise Mismatch if it does not pass."""
        from gradcheck.reports.plain import finding_text
        from gradcheck.runner import Options, results_of

        (result,) = results_of([self.case], Options(strict=self.config.getini("gradcheck_strict")))
        self.user_properties += [("seed", result.seed), ("max_rel_error", result.max_rel_error)]
        for finding in result.findings:
            if finding.level == "warning":
                self.add_report_section("call", "gradcheck", finding_text(finding))
        if result.status == "skipped":
            pytest.skip(result.reason or "skipped")
        if result.status != "passed":
            raise Mismatch(result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the table of mismatches, not a traceback."""
        if isinstance(excinfo.value, Mismatch):
            from gradcheck.reports.plain import failure_text
            from gradcheck.reports.wording import rerun_command

            return f"{failure_text(excinfo.value.result)}\nrerun: {rerun_command(excinfo.value.result)}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return where the case stands."""
        return self.path, self.case.line - 1, self.name
