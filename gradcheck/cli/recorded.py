"""What a recorded program has shown: results of checks, every site with its verdict, and the specs written."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gradcheck.calls import titled
from gradcheck.cli import signals
from gradcheck.cli.outputs import STOPPED, Outputs
from gradcheck.cli.run import consume
from gradcheck.engine.unspecified import CONFIRM
from gradcheck.events import CaseFinished, Event, RunFinished, RunStarted
from gradcheck.files import write_whole
from gradcheck.recording.collected import RecordedSite, Recording, collect
from gradcheck.recording.session import modes_of
from gradcheck.recording.settings import Settings
from gradcheck.recording.specs import PlannedSpec, planned, read_cases, write_specs
from gradcheck.results import ERRORED, FAILED, PASSED, SKIPPED, CaseResult, summarize
from gradcheck.runner import Options, run, strictly
from gradcheck.scanning.coverage import RECORDED, scan, shown
from gradcheck.spec.model import Case
from gradcheck.text import clean

NOT_CHECKED = "not checked"
# Of what was never called, and of TensorFlow's own, a few names say enough.
SHOWN = 10


@dataclass(frozen=True, slots=True)
class Plan:
    """Say how recorded calls are checked and where specs go; `folder` is None where none are wanted."""

    settings: Settings
    command: tuple[str, ...]
    folder: Path | None
    jobs: int = 1
    strict: bool = False
    profiles: bool = False

    @property
    def rerun(self) -> str:
        """Return the command that records the program again."""
        return shlex.join(["gradcheck", "record", "--", *self.command])


def report(plan: Plan, outputs: Outputs, program_code: int) -> int:
    """Check what is left to check, print everything, and return the exit code of `record`.

    Raises OSError or UsageError for specs and reports that cannot be written.
    """
    recording = collect(plan.settings)
    folder = plan.folder or Path(plan.settings.folder) / "specs"
    folder.mkdir(parents=True, exist_ok=True)
    specs = planned(recording.sites, folder)
    apart = planned([site for site in recording.sites if not site.results], folder)
    command, modes = shlex.join(plan.command), modes_of(recording.without_xla)
    write_specs(apart, {}, command, modes)
    results: list[CaseResult] = []
    try:
        summary = consume(_events(recording, read_cases(apart), plan), outputs, results)
    finally:
        signals.hold()
        outputs.close()
    verdicts = _verdicts(recording.sites, apart, results)
    if plan.folder is not None:
        write_specs(specs, _skips(specs, recording.sites, verdicts), command, modes)
        write_whole(folder / RECORDED, json.dumps(_recorded(recording, verdicts, folder, command), indent=1) + "\n")
    outputs.finish()
    stream = outputs.out if outputs.console is not None else outputs.err
    for line in _lines(recording, verdicts, plan, [spec.file for spec in specs], program_code):
        stream.print(clean(line), soft_wrap=True, markup=False, highlight=False)
    if summary.stop_reason in STOPPED:
        return STOPPED[summary.stop_reason]
    if summary.faults:
        return 3
    return 1 if summary.failed or summary.errored else program_code


def _events(recording: Recording, cases: list[Case], plan: Plan) -> Generator[Event, None, None]:
    """Yield the results that the program's own processes brought, then those of the cases that run now."""
    known = [replace(result, rerun=plan.rerun) for site in recording.sites for result in site.results]
    known = [strictly(result) for result in known] if plan.strict else known
    yield RunStarted(len(known) + len(cases), plan.jobs)
    for result in known:
        yield CaseFinished(result)
    options = Options(
        plan.jobs, timeout=plan.settings.timeout, show=plan.settings.show, strict=plan.strict, profiles=plan.profiles
    )
    events = run(cases, options)
    results = list(known)
    event = next(events, None)
    while event is not None:
        if isinstance(event, CaseFinished):
            shown = event.result if plan.folder is not None else replace(event.result, rerun=plan.rerun)
            event = CaseFinished(shown)
            results.append(shown)
        elif isinstance(event, RunFinished):
            done = event.summary
            whole = summarize(
                results, sum(r.duration_s for r in known) + done.duration_s, done.stop_reason, done.not_run
            )
            event = RunFinished(whole, event.environment)
        try:
            if not isinstance(event, RunStarted):
                yield event
        except KeyboardInterrupt as interrupt:
            event = events.throw(interrupt)
            continue
        event = next(events, None)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Hold what is known of a site: a status, the codes that were found, or why it was not checked."""

    status: str
    words: str
    results: tuple[CaseResult, ...] = ()


def _verdicts(
    sites: Iterable[RecordedSite], specs: Iterable[PlannedSpec], results: Iterable[CaseResult]
) -> list[Verdict]:
    by_id = {result.id: result for result in results}
    ids: dict[int, list[str]] = {id(site): [result.id for result in site.results] for site in sites}
    for spec in specs:
        for case in spec.cases:
            ids[id(case.site)].append(spec.id_of(case))
    return [_verdict(site, [by_id[i] for i in ids[id(site)] if i in by_id]) for site in sites]


def _verdict(site: RecordedSite, results: list[CaseResult]) -> Verdict:
    if site.own:
        return Verdict(NOT_CHECKED, "part of TensorFlow or Keras")
    judged = [result for result in results if result.status != SKIPPED]
    for status in (FAILED, ERRORED, PASSED):
        found = [result for result in judged if result.status == status]
        if found:
            labels = dict.fromkeys(f.label for result in found for f in result.findings if f.level == "error")
            return Verdict(status, ", ".join([status, *labels]), tuple(results))
    if results:
        return Verdict(SKIPPED, results[0].reason or "", tuple(results))
    return Verdict(NOT_CHECKED, site.reason or _why_not(site))


def _why_not(site: RecordedSite) -> str:
    if not site.calls:
        return "it was traced and never ran"
    return "the program ended before its calls could be checked"


def _skips(specs: Iterable[PlannedSpec], sites: Iterable[RecordedSite], verdicts: Iterable[Verdict]) -> dict[str, str]:
    """Return the reasons of skipped checks by the ids of the cases in the specs to be written."""
    results = {id(site): verdict.results for site, verdict in zip(sites, verdicts, strict=True)}
    skips: dict[str, str] = {}
    for spec in specs:
        counts: dict[int, int] = {}
        for case in spec.cases:
            number = counts[id(case.site)] = counts.get(id(case.site), -1) + 1
            known = results[id(case.site)]
            if number < len(known) and known[number].status == SKIPPED:
                skips[spec.id_of(case)] = known[number].reason or "skipped"
    return skips


def _recorded(recording: Recording, verdicts: list[Verdict], folder: Path, command: str) -> dict[str, Any]:
    """Return what recorded.json holds: every site with its calls and its verdict."""
    sites = [
        {
            "file": Path(os.path.relpath(site.file, folder)).as_posix(),
            "line": site.line,
            "name": site.name,
            "kind": site.kind,
            "how": site.how,
            "calls": site.calls,
            "signatures": site.signatures,
            "status": verdict.status,
            "verdict": verdict.words,
            "findings": sorted({f.label for r in verdict.results for f in r.findings if f.level == "error"}),
        }
        for site, verdict in zip(recording.sites, verdicts, strict=True)
    ]
    return {"command": command, "sites": sites}


def _lines(
    recording: Recording, verdicts: list[Verdict], plan: Plan, files: list[Path], program_code: int
) -> Iterator[str]:
    """Yield what is said below the results: every site, what was not reached, what was written."""
    if not recording.started:
        yield (
            "nothing was recorded: no process of the program imported TensorFlow with the recorder; it runs in every"
            " Python in which gradcheck is installed, unless that is started with -I, -E or -S"
        )
        return
    known = [(site, verdict) for site, verdict in zip(recording.sites, verdicts, strict=True) if not site.own]
    calls = sum(site.calls for site, _ in known)
    yield f"recorded {_count(len(known), 'custom gradient')} in {_count(calls, 'call')}"
    rows = [_row(site, verdict) for site, verdict in known]
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(5)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield "  " + "  ".join([*cells, row[5]])
    own = [site.name for site in recording.sites if site.own and site.calls]
    if own:
        yield f"not checked: {len(own)} of TensorFlow and Keras themselves ({_some(own)})"
    yield from _unreached(recording)
    if recording.without_xla:
        yield f"{_count(recording.without_xla, 'function')} with jit_compile=True ran without XLA while recording"
    yield from (f"note: {problem}" for problem in recording.problems)
    if recording.unended and any(verdict.status == NOT_CHECKED for _, verdict in known):
        yield "a process of the program was ended before it could check its closures and methods"
    if plan.folder is not None:
        written = ", ".join(shown(file) for file in [*files, plan.folder / RECORDED])
        yield f"wrote {written}" + (f"; check again: gradcheck run {shown(plan.folder)}" if files else "")
    if program_code:
        yield f"the program ended with exit code {program_code}"


def _row(site: RecordedSite, verdict: Verdict) -> tuple[str, ...]:
    signatures = _count(len(site.signatures) + site.further, "signature")
    words = verdict.words if verdict.status in (PASSED, FAILED, ERRORED) else f"{NOT_CHECKED}: {verdict.words}"
    if verdict.words.startswith(CONFIRM):
        words = verdict.words
    place = f"{shown(Path(site.file))}:{site.line}"
    return place, titled(site.name, site.helpers), site.kind, _count(site.calls, "call"), signatures, words


def _unreached(recording: Recording) -> Iterator[str]:
    """Yield the custom gradients below the current folder that the program never called."""
    reached = {(os.path.realpath(site.file), site.name) for site in recording.sites}
    missing = [site for site in scan(["."], []).sites if (os.path.realpath(site.file), site.name) not in reached]
    if missing:
        names = _some([f"{site.file}:{site.line} {site.name}" for site in missing])
        yield f"never called: {_count(len(missing), 'custom gradient')} below this folder ({names})"


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f", and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
