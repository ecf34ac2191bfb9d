"""`gradcheck watch`: check again what an edit touched."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from gradcheck.cli.completion import complete_case
from gradcheck.errors import GradcheckError, UsageError
from gradcheck.events import RunFinished
from gradcheck.spec.model import Case

SUFFIXES = (".py", ".yaml", ".yml")
# What an editor writes for one save comes within this time.
QUIET_MS = 20


@click.command(epilog="Example: gradcheck watch specs/")
@click.argument("paths", nargs=-1, required=True, shell_complete=complete_case)
@click.option("-k", "expression", default="", help="Only cases that match: words with and, or, not.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes at once.")
@click.option("--show", type=click.IntRange(min=1), default=5, show_default=True, help="Worst elements per finding.")
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="Colour the output.")
def watch(paths: tuple[str, ...], expression: str, jobs: int, show: int, color: str) -> int:
    """Check specs, then again whatever an edit touches, until Ctrl-C.

    TensorFlow stays imported, so that an edit is answered in about the time of its cases.
    """
    try:
        from watchfiles import watch as changes_in
    except ImportError:
        raise UsageError("watch needs watchfiles: pip install 'gradcheck[watch]'") from None
    from gradcheck.executors.processes import start_server

    start_server()
    options = {"jobs": jobs, "show": show, "color": color}
    known = _cases(paths, expression)
    # Ctrl-C is how watching ends, also while cases run.
    with contextlib.suppress(KeyboardInterrupt):
        _run(list(known.values()), options)
        watched = _folders(paths, known.values())
        for changes in changes_in(*watched, watch_filter=_wanted, step=QUIET_MS, raise_interrupt=True):
            touched = {Path(file).resolve() for _, file in changes}
            try:
                now = _cases(paths, expression)
            except GradcheckError as error:
                click.echo(f"{error}", err=True)
                continue
            affected = [case for case in now.values() if case != known.get(case.id) or _uses(case, touched)]
            known = now
            if affected:
                _run(affected, options)
    return 0


def _wanted(change: Any, path: str) -> bool:
    return path.endswith(SUFFIXES) and not any(part.startswith(".") for part in Path(path).parts[1:-1])


def _cases(paths: Iterable[str], expression: str) -> dict[str, Case]:
    from gradcheck.spec.discover import load, select

    return {case.id: case for case in select(load(paths), expression)}


def _folders(paths: Iterable[str], cases: Iterable[Case]) -> set[Path]:
    """Return what to watch: the given folders, those of the given files, and those of the modules."""
    given = {Path(path.partition("::")[0]).resolve() for path in paths}
    folders = {path if path.is_dir() else path.parent for path in given}
    return folders | {Path(case.module).parent for case in cases if case.module.endswith(".py")}


def _uses(case: Case, touched: set[Path]) -> bool:
    """Return whether a changed Python file is the case's module or may be imported by it."""
    if not case.module.endswith(".py"):
        return any(path.suffix == ".py" for path in touched)
    home = Path(case.module).parent
    return any(path.suffix == ".py" and path.is_relative_to(home) for path in touched)


def _run(cases: list[Case], options: Mapping[str, Any]) -> None:
    from gradcheck.cli.consoles import make_consoles
    from gradcheck.reports.console import ConsoleReport, View
    from gradcheck.runner import Options
    from gradcheck.runner import run as run_cases

    out, err = make_consoles(options["color"])
    console = ConsoleReport(out, err, View(0, options["show"]))
    try:
        for event in run_cases(cases, Options(options["jobs"], show=max(options["show"], 10))):
            console.handle(event)
            if isinstance(event, RunFinished) and event.summary.stop_reason != "completed":
                raise KeyboardInterrupt
    finally:
        console.close()
    out.file.flush()
