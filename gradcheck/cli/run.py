"""`gradcheck run`: check specs."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from gradcheck.cli.consoles import make_consoles
from gradcheck.errors import UsageError
from gradcheck.events import Event, RunFinished
from gradcheck.results import RunSummary
from gradcheck.spec.model import Case

DTYPES = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")


@click.command(epilog="Example: gradcheck run specs/ -k softmax --mode eager -v")
@click.argument("paths", nargs=-1, required=True)
@click.option("-k", "expression", default="", help="Only cases that match: words with and, or, not.")
@click.option("--tag", "tags", multiple=True, help="Only cases with this tag (repeatable).")
@click.option(
    "--mode", "modes", multiple=True, type=click.Choice(["eager", "function", "xla"]), help="Only these modes."
)
@click.option("--device", "devices", multiple=True, help="Run on cpu:0, cpu:1, gpu:0, ... or all.")
@click.option("--dtype", "dtypes", multiple=True, type=click.Choice(DTYPES), help="Run in this dtype (repeatable).")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of inputs, upstream and directions.")
@click.option("--samples", type=click.IntRange(min=1), help="Independent draws of random inputs.")
@click.option("--coverage", type=click.Choice(["full", "directional", "auto"]), help="Every element, or projections.")
@click.option("--order", type=click.Choice(["1", "2"]), help="2 checks the second derivative too.")
@click.option("-j", "--jobs", default="1", show_default=True, help="Processes at once; auto takes all cores.")
@click.option("-x", "--fail-fast", is_flag=True, help="Stop at the first case that does not pass.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds per case.")
@click.option("--strict", is_flag=True, help="Warnings fail a case.")
@click.option("--format", "form", type=click.Choice(["console", "json"]), default="console", help="Standard output.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False), help="Also write the JSON report here.")
@click.option("--show", type=click.IntRange(min=1), default=5, show_default=True, help="Worst elements per finding.")
@click.option("-v", "--verbose", count=True, help="Show findings and times of passed cases too.")
@click.option("-q", "--quiet", is_flag=True, help="Show only what did not pass.")
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="Colour the output.")
def run(**options: Any) -> int:
    """Check the gradients of specs.

    PATHS are spec files, folders (searched for *.yaml and *.yml) or FILE::CASE. Results go to
    standard output, progress to standard error.
    """
    from gradcheck.runner import Options
    from gradcheck.spec.discover import load, select

    jobs = _jobs(options["jobs"])
    json_file = _writable(options["json_file"])
    _warm_up()
    cases = [
        _with_options(case, options) for case in select(load(options["paths"]), options["expression"], options["tags"])
    ]
    limits = Options(jobs, options["fail_fast"], options["timeout"], max(options["show"], 10))
    return _run(cases, limits, options, json_file)


def _warm_up() -> None:
    """Start the server that imports TensorFlow while the specs are read."""
    from gradcheck.executors import start_server

    start_server()


def _run(cases: list[Case], limits: Any, options: dict[str, Any], json_file: Path | None) -> int:
    from gradcheck.reports.console import ConsoleReport, View
    from gradcheck.reports.jsonfile import JsonReport, write_whole
    from gradcheck.runner import run as run_cases

    out, err = make_consoles(options["color"])
    view = View(options["verbose"] - options["quiet"], options["show"], tuple(_repeated(options)))
    report = JsonReport(_stated(cases, options, limits.jobs))
    console = ConsoleReport(out, err, view) if options["form"] == "console" else None
    handlers = [handler for handler in (report, console) if handler is not None]
    try:
        summary = _consume(run_cases(cases, limits, strict=options["strict"]), handlers)
    finally:
        if console is not None:
            console.close()
    if options["form"] == "json":
        out.file.write(report.text() + "\n")
        out.file.flush()
    if json_file is not None:
        try:
            write_whole(json_file, report.text())
        except OSError as error:
            raise UsageError(f"cannot write {json_file}: {error.strerror or error}") from None
    return exit_code(summary)


def _consume(events: Generator[Event, None, None], handlers: Iterable[Any]) -> RunSummary:
    summary: RunSummary | None = None
    event = next(events, None)
    while event is not None:
        try:
            for handler in handlers:
                handler.handle(event)
        except KeyboardInterrupt:
            # Interrupted while reporting: let the run close itself and report what is done.
            event = events.throw(KeyboardInterrupt)
            continue
        if isinstance(event, RunFinished):
            summary = event.summary
        event = next(events, None)
    assert summary is not None
    return summary


def exit_code(summary: RunSummary) -> int:
    """Return the exit code of a run."""
    if summary.stop_reason == "interrupted":
        return 130
    return 1 if summary.failed or summary.errored else 0


def _with_options(case: Case, options: dict[str, Any]) -> Case:
    changes: dict[str, Any] = {}
    for key in ("modes", "devices", "dtypes"):
        if options[key]:
            changes[key] = tuple(dict.fromkeys(options[key]))
    for key in ("seed", "samples", "coverage"):
        if options[key] is not None:
            changes[key] = options[key]
    if options["order"]:
        changes["order"] = int(options["order"])
    for device in options["devices"]:
        _check_device(device)
    return replace(case, **changes)


def _check_device(device: str) -> None:
    import re

    if not re.fullmatch(r"all|(cpu|gpu|tpu)(:[0-9]+)?", device):
        raise UsageError(f"--device {device}: not one of cpu, gpu, tpu (with an index if wanted) or all")


def _jobs(text: str) -> int:
    from gradcheck.runner import cores

    if text == "auto":
        return cores()
    if not text.isdigit() or int(text) < 1:
        raise UsageError(f"-j {text}: must be a whole number above 0, or auto")
    return int(text)


def _writable(text: str | None) -> Path | None:
    """Return the path of a report; refuse it now, not after the run, if it cannot be written."""
    if text is None:
        return None
    path = Path(text)
    folder = path.parent
    if not folder.is_dir():
        raise UsageError(f"cannot write {path}: there is no folder {folder}")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise UsageError(f"cannot write {path}: no permission")
    return path


def _repeated(options: dict[str, Any]) -> Iterable[str]:
    """Yield the options that a rerun of one case needs to see the same thing."""
    for key, flag in (("modes", "--mode"), ("devices", "--device"), ("dtypes", "--dtype")):
        for value in options[key]:
            yield flag
            yield value
    for key in ("samples", "coverage", "order"):
        if options[key] is not None:
            yield f"--{key}"
            yield str(options[key])


def _stated(cases: list[Case], options: dict[str, Any], jobs: int) -> dict[str, Any]:
    seed = options["seed"] if options["seed"] is not None else (cases[0].seed if cases else 0)
    modes = list(options["modes"]) or ["eager", "function", "xla"]
    return {"seed": seed, "modes": modes, "jobs": jobs, "paths": list(options["paths"]), "k": options["expression"]}
