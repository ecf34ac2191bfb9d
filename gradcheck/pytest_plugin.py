"""Collect specs as pytest tests: one test per case, each in a process of its own.

Nothing of gradcheck is imported until a spec is found, so other test runs pay nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

SUFFIXES = (".gradcheck.yaml", ".gradcheck.yml")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ini settings."""
    parser.addini("gradcheck_files", "patterns of further spec files (*.gradcheck.yaml always are)", type="args")
    parser.addini("gradcheck_strict", "warnings of gradcheck fail a test", type="bool", default=False)


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
        from gradcheck.reports.wording import finding_text
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
            from gradcheck.reports.wording import failure_text, rerun_command

            return f"{failure_text(excinfo.value.result)}\nrerun: {rerun_command(excinfo.value.result)}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return where the case stands."""
        return self.path, self.case.line - 1, self.name
