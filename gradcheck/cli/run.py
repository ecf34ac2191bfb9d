# SPDX-License-Identifier: Apache-2.0
"""`gradcheck run`: check specs."""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gradcheck.cli import options as shared
from gradcheck.cli import signals
from gradcheck.cli.completion import complete_case
from gradcheck.errors import UsageError
from gradcheck.events import CaseFinished, Event, RunFinished
from gradcheck.results import SKIPPED, CaseResult, RunSummary
from gradcheck.spec.model import Case
from gradcheck.ways import EXACT_AUTO, MODES, expanded

if TYPE_CHECKING:
    from gradcheck.cli.selection import Selection
    from gradcheck.runner import Options
    from gradcheck.scanning.coverage import Scan

DTYPES = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")
FORMATS = ("console", "json", "jsonl", "github")
_FILE = click.Path(dir_okay=False)


@click.command(epilog="Example: gradcheck run specs/ -k softmax --mode eager -v")
@click.argument("paths", nargs=-1, metavar="[TARGET]...", shell_complete=complete_case)
@click.option("--input", "inputs", multiple=True, metavar="NAME=SHAPE", help="An input of FILE.py::NAME, as x=4,3.")
@shared.expression
@shared.tags
@shared.exclude
@click.option("--shard", metavar="I/N", help="Only the I-th of N parts; new specs do not move old cases.")
@click.option("--last-failed", "--lf", is_flag=True, help="Only the cases that did not pass last time.")
@shared.modes
@shared.devices
@click.option("--dtype", "dtypes", multiple=True, type=click.Choice(DTYPES), help="Run in this dtype (repeatable).")
@shared.seed
@shared.samples
@shared.coverage
@shared.order
@click.option("-j", "--jobs", default="1", show_default=True, help="Processes at once; auto takes all cores.")
@click.option("-x", "--fail-fast", is_flag=True, help="Stop at the first case that does not pass.")
@click.option("--continue-on-spec-errors", is_flag=True, help="Run the other specs; exit 2 all the same.")
@shared.timeout
@click.option("--memory-limit", "memory", metavar="SIZE", help="Memory per case, as 4G.  [default: 80% / jobs]")
@click.option("--executor", metavar="URL", help="Run on a Dask cluster: dask://host:port.")
@click.option("--accept", is_flag=True, help="Write today's errors into the specs as `expect`.")
@click.option(
    "--fail-under-conditions",
    type=click.FloatRange(0, 100),
    metavar="PERCENT",
    help="Exit 1 if fewer of 100 sides of conditions are reached.",
)
@click.option("--cost", is_flag=True, help="Time and memory of the custom gradient beside autodiff.")
@click.option("--exact", is_flag=True, help="Compare in exact arithmetic too (needs gradcheck[exact]).")
@click.option("--strict-exact", is_flag=True, help="Also fail where that decides nothing.")
@shared.strict
@click.option("--format", "form", type=click.Choice(FORMATS), default="console", help="Standard output.")
@click.option("--output", type=click.Choice(["full", "concise"]), default="full", help="Or one line per error.")
@click.option("--json", "json_file", type=_FILE, help="Also write the JSON report here.")
@click.option("--junit", type=_FILE, help="Also write JUnit XML here.")
@click.option("--sarif", type=_FILE, help="Also write SARIF here, for code scanning.")
@click.option("--code-quality", type=_FILE, help="Also write GitLab's code quality report here.")
@click.option("--html", type=_FILE, help="Also write a page with pictures here.")
@click.option("--save-failures", metavar="DIR", type=click.Path(file_okay=False), help="Keep failing numbers here.")
@shared.show
@click.option("--durations", type=click.IntRange(min=0), metavar="N", help="List the N slowest cases at the end.")
@click.option("-v", "--verbose", count=True, help="Show findings and times of passed cases too.")
@click.option("-q", "--quiet", is_flag=True, help="One line for each case that did not pass.")
@shared.color
def run(**options: Any) -> int:
    """Check the gradients of specs, or of a Python file without one.

    TARGET is a spec, a folder (searched for *.yaml and *.yml; the current one by default),
    SPEC::CASE, FILE.py::OP with its inputs as --input x=4,3 or ids=5:int32, or FILE.py, whose custom
    gradients and layers are checked with guessed inputs. Results go to standard output, progress to
    standard error.
    """
    options["paths"] = options["paths"] or (".",)
    from gradcheck import history
    from gradcheck.cli.outputs import STOPPED, check_files, exit_code, keep_modules, make_outputs, wants_scan
    from gradcheck.cli.selection import repeated, selected
    from gradcheck.reports.wording import too_few_text
    from gradcheck.runner import run as run_cases

    how = _how(options)
    check_files(options)
    if how.cluster is None:
        _warm_up()
    selection = selected(options)
    cases = selection.cases
    _need_exact(cases)
    keep_modules(options, cases)
    listed = _scan(cases, options["paths"]) if wants_scan(options) else None
    outputs = make_outputs(options, cases, _stated(cases, options, how.jobs), repeated(options), listed)
    for remark in (*selection.remarks, *_problem_lines(selection)):
        outputs.err.print(remark, soft_wrap=True, markup=False, highlight=False)
    finished: list[CaseResult] = []
    try:
        summary = consume(run_cases(cases, how), outputs, finished)
    finally:
        signals.hold()
        outputs.close()
        history.add(Path(history.FOLDER), finished)
    outputs.finish()
    for line in (unchecked := not_checked(finished, options["paths"])):
        outputs.err.print(line, soft_wrap=True, markup=False, highlight=False)
    if options["accept"] and not summary.faults and summary.stop_reason not in STOPPED:
        if _accept(finished, cases, outputs):
            return 2 if selection.problems is not None else 0
    least = options["fail_under_conditions"]
    if least is not None and summary.conditions.percent < least:
        outputs.err.print(too_few_text(summary.conditions, least), soft_wrap=True, markup=False, highlight=False)
    return exit_code(summary, selection.problems is not None or bool(unchecked), least)


def _how(options: Mapping[str, Any]) -> Options:
    """Return how cases are run; raises UsageError."""
    from gradcheck import history
    from gradcheck.runner import Options

    if options["timeout"] is not None and math.isnan(options["timeout"]):
        raise UsageError("--timeout nan: give seconds")
    return Options(
        jobs_of(options["jobs"]),
        options["fail_fast"],
        options["timeout"],
        _memory(options["memory"]),
        max(options["show"], 10),
        options["strict"],
        _cluster(options["executor"]),
        {key: record.duration_s for key, record in history.read(Path(history.FOLDER)).items()},
        profiles=options["html"] is not None,
        save=options["save_failures"],
    )


def not_checked(finished: Sequence[CaseResult], paths: Sequence[str]) -> list[str]:
    """Return a line for each op that was asked for by name, FILE.py::NAME, and could not be called."""
    from gradcheck.scanning.targets import is_source

    named = {path for path in paths if "::" in path and is_source(path)}
    return [
        f"{result.id} was not checked: {result.reason}"
        for result in finished
        if result.id in named and result.status == SKIPPED and (result.reason or "").startswith("needs ")
    ]


def _accept(finished: list[CaseResult], cases: list[Case], outputs: Any) -> bool:
    """Write today's errors into the specs, and return whether nothing that failed is left over."""
    from gradcheck.cli.accepting import accept_errors, left_over

    for line in accept_errors(finished, cases):
        outputs.err.print(line, soft_wrap=True, markup=False, highlight=False)
    return not left_over(finished, cases)


def _scan(cases: list[Case], paths: Sequence[str]) -> Scan:
    """Return the custom gradients of the modules that are checked, and which case covers each."""
    from gradcheck.scanning.coverage import scan

    modules = dict.fromkeys(case.module for case in cases if case.module.endswith(".py"))
    return scan(modules, [path.partition("::")[0] for path in paths if not path.partition("::")[0].endswith(".py")])


def _problem_lines(selection: Selection) -> list[str]:
    if selection.problems is None:
        return []
    count = len({problem.file for problem in selection.problems.problems})
    return [str(selection.problems), f"{count} spec{'s' * (count != 1)} with errors left out; exit code 2"]


def _need_exact(cases: Sequence[Case]) -> None:
    """Raise UsageError if a case needs the library for exact arithmetic and it is missing."""
    from gradcheck.exact import is_installed

    asking = next((case.id for case in cases if case.exact not in (None, EXACT_AUTO)), None)
    if asking is not None and not is_installed():
        raise UsageError(f"{asking} asks for exact arithmetic, which needs python-flint: pip install python-flint")


def _warm_up() -> None:
    """Start the server that imports TensorFlow while the specs are read."""
    from gradcheck.executors.processes import start_server

    start_server()


def consume(events: Generator[Event, None, None], outputs: Any, finished: list[CaseResult]) -> RunSummary:
    """Hand every event of a run to the outputs, keep the results in `finished`, and return the summary."""
    summary: RunSummary | None = None
    event = next(events, None)
    while event is not None:
        if isinstance(event, CaseFinished):
            finished.append(event.result)
        try:
            outputs.handle(event)
        except KeyboardInterrupt as interrupt:
            # Interrupted while reporting: let the run close itself and report what is done.
            event = events.throw(interrupt)
            continue
        if isinstance(event, RunFinished):
            summary = event.summary
        event = next(events, None)
    assert summary is not None
    return summary


def jobs_of(text: str) -> int:
    """Return the number of processes.

    Raises UsageError.
    """
    from gradcheck.runner import cores

    if text == "auto":
        return cores()
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"-j {text}: must be a whole number above 0, or auto")
    return int(text)


def _memory(text: str | None) -> int | None:
    """Return bytes; less than a gigabyte is refused, because TensorFlow alone takes about half."""
    if text is None:
        return None
    size = size_of("--memory-limit", text)
    if size < 2**30:
        raise UsageError(f"--memory-limit {text}: must be at least 1G, TensorFlow itself takes about half of that")
    return size


def size_of(option: str, text: str) -> int:
    """Return bytes of a size such as 4G.

    Raises UsageError.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise UsageError(f"{option} {text}: must be a size such as 4G or 1500M")
    return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))


def _cluster(url: str | None) -> str | None:
    """Return the address of a Dask scheduler."""
    if url is None:
        return None
    match = re.fullmatch(r"dask://([^\s/:]+|\[[0-9a-fA-F:]+\]):([0-9]{1,5})/?", url)
    if match is None:
        raise UsageError(f"--executor {url}: must be dask://host:port")
    return f"tcp://{match[1]}:{match[2]}"


def _stated(cases: list[Case], options: Mapping[str, Any], jobs: int) -> dict[str, Any]:
    seed = options["seed"] if options["seed"] is not None else (cases[0].seed if cases else 0)
    modes = list(expanded(options["modes"])) or list(MODES)
    return {"seed": seed, "modes": modes, "jobs": jobs, "paths": list(options["paths"]), "k": options["expression"]}
