# SPDX-License-Identifier: Apache-2.0
"""`gradcheck watch`: check again what an edit touched."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from gradcheck.cli import options as shared
from gradcheck.cli.completion import complete_case
from gradcheck.errors import GradcheckError, UsageError
from gradcheck.events import RunFinished
from gradcheck.spec.model import Case

SUFFIXES = (".py", ".yaml", ".yml")
# What an editor writes for one save comes within this time.
QUIET_MS = 20


@click.command(epilog="Example: gradcheck watch specs/")
@click.argument("paths", nargs=-1, shell_complete=complete_case)
@shared.expression
@shared.tags
@shared.exclude
@shared.modes
@shared.devices
@click.option("--dtype", "dtypes", multiple=True, help="Run in this dtype (repeatable).")
@shared.seed
@shared.samples
@shared.coverage
@shared.order
@click.option("-j", "--jobs", default="1", show_default=True, help="Processes at once; auto takes all cores.")
@shared.timeout
@shared.strict
@shared.show
@click.option("-v", "--verbose", count=True, help="Show findings and times of passed cases too.")
@shared.color
def watch(**options: Any) -> int:
    """Check specs, then again whatever an edit touches, until Ctrl-C.

    TensorFlow stays imported, so that an edit is answered in about the time of its cases.
    """
    try:
        from watchfiles import watch as changes_in
    except ImportError:
        raise UsageError("watch needs watchfiles: pip install watchfiles") from None
    from gradcheck.cli.run import jobs_of
    from gradcheck.executors.processes import start_server

    paths = options["paths"] = options["paths"] or (".",)
    options["jobs"] = jobs_of(options["jobs"])
    start_server()
    known, problem = _cases(options), ""
    # Ctrl-C is how watching ends, also while cases run.
    with contextlib.suppress(KeyboardInterrupt):
        _run(list(known.values()), options)
        watched = _folders(paths, known.values())
        for changes in changes_in(*watched, watch_filter=_wanted, step=QUIET_MS, raise_interrupt=True):
            touched = {Path(file).resolve() for _, file in changes}
            try:
                now = _cases(options)
            except GradcheckError as error:
                problem = f"{error}"
                click.echo(problem, err=True)
                continue
            affected = [case for case in now.values() if case != known.get(case.id) or _uses(case, touched)]
            if problem:
                # A spec that is whole again is checked, whether or not its cases are others than before.
                click.echo("the specs are valid again", err=True)
                specs = {str(file) for file in touched}
                affected = [c for c in now.values() if c in affected or str(Path(c.spec).resolve()) in specs]
                problem = ""
            known = now
            if affected:
                _run(affected, options)
    return 0


def _wanted(change: Any, path: str) -> bool:
    return path.endswith(SUFFIXES) and not any(part.startswith(".") for part in Path(path).parts[1:-1])


def _cases(options: Mapping[str, Any]) -> dict[str, Case]:
    from gradcheck.cli.selection import with_options
    from gradcheck.spec.discover import load, select

    cases = select(load(options["paths"], options["exclude"]), options["expression"], options["tags"])
    return {case.id: with_options(case, options) for case in cases}


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
    console = ConsoleReport(out, err, View(options["verbose"], options["show"]))
    how = Options(options["jobs"], timeout=options["timeout"], strict=options["strict"], show=max(options["show"], 10))
    try:
        for event in run_cases(cases, how):
            console.handle(event)
            if isinstance(event, RunFinished) and event.summary.stop_reason != "completed":
                raise KeyboardInterrupt
    finally:
        console.close()
    out.file.flush()
