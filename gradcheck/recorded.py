# SPDX-License-Identifier: Apache-2.0
"""What a recorded program has shown: results of checks, every site with its verdict, and the specs written."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gradcheck.calls import titled
from gradcheck.events import CaseFinished, Event, RunFinished, RunStarted
from gradcheck.files import shown, write_whole
from gradcheck.recording.collected import RecordedSite, Recording, collect
from gradcheck.recording.session import modes_of
from gradcheck.recording.settings import Settings
from gradcheck.recording.specs import PlannedSpec, planned, read_cases, write_specs
from gradcheck.results import ERRORED, FAILED, PASSED, SKIPPED, CaseResult, summarize
from gradcheck.runner import Options, run, strictly
from gradcheck.scanning.coverage import RECORDED, scan

NOT_CHECKED = "not checked"
# Of what was never called, and of TensorFlow's own, a few names say enough.
SHOWN = 10
# Whoever records in a home folder does not want all of it to be searched for what was not called.
MOST_FILES = 3000


@dataclass(frozen=True, slots=True)
class Plan:
    """Say how recorded calls are checked and where specs go; `folder` is None where none are wanted.

    `command` is the program that was recorded, `rerun` what records it again.
    """

    settings: Settings
    command: str
    rerun: str
    folder: Path | None
    jobs: int = 1
    strict: bool = False
    profiles: bool = False


@dataclass(slots=True)
class RecordedRun:
    """Check what a program left behind: `events` yields the results, `conclude` says what they come to."""

    plan: Plan
    recording: Recording
    folder: Path
    apart: list[PlannedSpec] = field(default_factory=list)
    results: list[CaseResult] = field(default_factory=list)

    @classmethod
    def of(cls, plan: Plan) -> RecordedRun:
        """Read what the program left.

        Raises OSError.
        """
        recording = collect(plan.settings)
        folder = plan.folder or Path(plan.settings.folder) / "specs"
        folder.mkdir(parents=True, exist_ok=True)
        return cls(plan, recording, folder)

    @property
    def modes(self) -> tuple[str, ...]:
        """Return the modes in which recorded calls are checked."""
        return modes_of(self.recording.without_xla)

    def events(self) -> Generator[Event, None, None]:
        """Yield the results that the program's own processes brought, then those of the cases that run now.

        Raises OSError where specs cannot be written.
        """
        self.apart = planned([site for site in self.recording.sites if not site.results], self.folder)
        write_specs(self.apart, {}, self.plan.command, self.modes)
        cases = read_cases(self.apart)
        known = [replace(r, rerun=self.plan.rerun) for site in self.recording.sites for r in site.results]
        known = [strictly(result) for result in known] if self.plan.strict else known
        yield RunStarted(len(known) + len(cases), self.plan.jobs)
        for result in known:
            self.results.append(result)
            yield CaseFinished(result)
        options = Options(
            self.plan.jobs,
            timeout=self.plan.settings.timeout,
            show=self.plan.settings.show,
            strict=self.plan.strict,
            profiles=self.plan.profiles,
        )
        inner = run(cases, options)
        event = next(inner, None)
        while event is not None:
            try:
                if not isinstance(event, RunStarted):
                    yield self._noted(event)
            except KeyboardInterrupt as interrupt:
                event = inner.throw(interrupt)
                continue
            event = next(inner, None)

    def _noted(self, event: Event) -> Event:
        """Return an event of the cases that run now, as one of the whole."""
        if isinstance(event, CaseFinished):
            self.results.append(event.result)
            return CaseFinished(event.result if self.plan.folder is not None else self._lasting(event.result))
        if isinstance(event, RunFinished):
            done = event.summary
            spent = sum(r.duration_s for site in self.recording.sites for r in site.results) + done.duration_s
            return RunFinished(summarize(self.results, spent, done.stop_reason, done.not_run), event.environment)
        return event

    def _lasting(self, result: CaseResult) -> CaseResult:
        """Return a result under the name of the op: the spec that it is of is not kept."""
        known = {spec.id_of(case): case for spec in self.apart for case in spec.cases}
        case = known.get(result.id)
        if case is None:
            return replace(result, rerun=self.plan.rerun)
        site = case.site
        name = f"{site.name} ({case.number + 1})" if case.number else site.name
        place = shown(site.file)
        return replace(
            result, id=f"{place}:{site.line}::{name}", spec=place, line=site.line, case=name, rerun=self.plan.rerun
        )

    def conclude(self, program_code: int = 0) -> list[str]:
        """Write specs and `recorded.json` if these are wanted, and return the lines that say what was recorded.

        Raises OSError.
        """
        sites = self.recording.sites
        verdicts = _verdicts(sites, self.apart, self.results)
        files: list[Path] = []
        if self.plan.folder is not None:
            specs = planned(sites, self.folder)
            write_specs(specs, _skips(specs, sites, verdicts), self.plan.command, self.modes)
            data = _recorded(self.recording, verdicts, self.folder, self.plan.command)
            write_whole(self.folder / RECORDED, json.dumps(data, indent=1) + "\n")
            files = [spec.file for spec in specs]
        return list(_lines(self.recording, verdicts, self.plan, files, program_code))


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
        for case in spec.cases:
            known = results[id(case.site)]
            if case.number < len(known) and known[case.number].status == SKIPPED:
                skips[spec.id_of(case)] = known[case.number].reason or "skipped"
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
        if not site.own
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
    if verdict.words.startswith("confirm:"):
        words = verdict.words
    place = f"{shown(site.file)}:{site.line}"
    return place, titled(site.name, site.helpers), site.kind, _count(site.calls, "call"), signatures, words


def _unreached(recording: Recording) -> Iterator[str]:
    """Yield the custom gradients below the current folder that the program never called."""
    reached = {(os.path.realpath(site.file), site.name) for site in recording.sites}
    declared = [site for site in scan(["."], [], MOST_FILES).sites if site.how != "py_function"]
    missing = [site for site in declared if (os.path.realpath(site.file), site.name) not in reached]
    if missing:
        names = _some([f"{site.file}:{site.line} {site.name}" for site in missing])
        yield f"never called: {_count(len(missing), 'custom gradient')} below this folder ({names})"


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f", and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
