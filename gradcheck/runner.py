# SPDX-License-Identifier: Apache-2.0
"""Run cases and yield events: the one loop of a run."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace

from gradcheck.engine.limits import Limits
from gradcheck.errors import Terminated
from gradcheck.events import CaseFinished, Event, RunFinished, RunStarted
from gradcheck.executors import Executor
from gradcheck.executors.processes import Processes
from gradcheck.findings import ERROR
from gradcheck.results import ERRORED, FAILED, INTERRUPTED, PASSED, SKIPPED, TERMINATED, CaseResult, summarize
from gradcheck.spec.model import Case


@dataclass(frozen=True, slots=True)
class Options:
    """Give how a run goes.

    `timeout` is in seconds and `memory` in bytes, per case; `durations` are the seconds that
    cases took before, by id; `cluster` is the address of a Dask scheduler; `profiles` and `save`
    are those of `Limits`.
    """

    jobs: int = 1
    fail_fast: bool = False
    timeout: float | None = None
    memory: int | None = None
    show: int = 10
    strict: bool = False
    cluster: str | None = None
    durations: Mapping[str, float] = field(default_factory=dict)
    profiles: bool = False
    save: str | None = None


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def run(cases: list[Case], options: Options) -> Generator[Event, None, None]:
    """Check `cases` and yield what happens; the last event is RunFinished also after an interrupt."""
    started = time.monotonic()
    results: list[CaseResult] = []
    jobs = max(1, min(options.jobs, len(cases)))
    yield RunStarted(len(cases), jobs)
    stop_reason, environment = "completed", {}
    todo = []
    for case in cases:
        unready = not_run(case)
        if unready is None:
            todo.append(case)
        else:
            results.append(unready)
            yield CaseFinished(unready)
    if todo:
        executor = _executor(jobs, options)
        try:
            for event in executor.run(_ordered(todo, jobs, options.durations)):
                if isinstance(event, CaseFinished):
                    result = sound(event.result)
                    event = CaseFinished(strictly(result) if options.strict else result)
                    results.append(event.result)
                yield event
                if _stops(event, options):
                    stop_reason = "fail-fast"
                    break
        except Terminated:
            stop_reason = TERMINATED
        except KeyboardInterrupt:
            stop_reason = INTERRUPTED
        finally:
            environment = dict(executor.environment)
            executor.close()
    spent, left = time.monotonic() - started, len(cases) - len(results)
    yield RunFinished(summarize(results, spent, stop_reason, left), environment)


def results_of(cases: list[Case], options: Options) -> list[CaseResult]:
    """Check `cases` and return their results.

    Raises KeyboardInterrupt if the run was interrupted.
    """
    results: list[CaseResult] = []
    for event in run(cases, options):
        if isinstance(event, CaseFinished):
            results.append(event.result)
        elif isinstance(event, RunFinished) and event.summary.stop_reason in (INTERRUPTED, TERMINATED):
            raise KeyboardInterrupt
    return results


def _executor(jobs: int, options: Options) -> Executor:
    limits = Limits(max(1, cores() // jobs), options.show, options.profiles, options.save, mends=True)
    if options.cluster is None:
        return Processes(jobs, limits, options.timeout, options.memory)
    from gradcheck.executors.cluster import Cluster

    return Cluster(options.cluster, limits, options.timeout, options.memory)


def _ordered(cases: list[Case], jobs: int, durations: Mapping[str, float]) -> list[Case]:
    """Return the cases with the longest first where several run at once, so that the tail is short."""
    if jobs == 1 or not durations:
        return cases
    return sorted(cases, key=lambda case: -durations.get(case.id, math.inf))


def _stops(event: Event, options: Options) -> bool:
    return options.fail_fast and isinstance(event, CaseFinished) and event.result.status in (FAILED, ERRORED)


def not_run(case: Case) -> CaseResult | None:
    """Return the result of a case that is skipped, None if it is to run."""
    if case.skip:
        return CaseResult(case.id, case.spec, case.line, case.name, SKIPPED, seed=case.seed, reason=case.skip)
    return None


def sound(result: CaseResult) -> CaseResult:
    """Return the result as failed if it says that it passed with an error that is not expected.

    The op ran in the process that judged it, and may have changed what that uses, its clock too.
    """
    known = result.expected
    if result.duration_s < 0:
        result = replace(result, duration_s=0.0, phases_s={name: max(s, 0.0) for name, s in result.phases_s.items()})
    wrong = any(f.level == ERROR and f.code not in known and f.label not in known for f in result.findings)
    return replace(result, status=FAILED) if wrong and result.status == PASSED else result


def strictly(result: CaseResult) -> CaseResult:
    """Return the result as failed if it passed with a warning that is not expected."""
    known = result.expected
    surplus = any(f.level == "warning" and f.code not in known and f.label not in known for f in result.findings)
    return replace(result, status=FAILED) if surplus and result.status == PASSED else result
