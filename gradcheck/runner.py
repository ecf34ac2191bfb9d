"""Run cases and yield events: the one loop of a run."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from dataclasses import dataclass, replace

from gradcheck.events import CaseFinished, Event, RunFinished, RunStarted
from gradcheck.executors import Processes
from gradcheck.results import FAILED, PASSED, SKIPPED, CaseResult, summarize
from gradcheck.spec.model import Case
from gradcheck.worker import Limits


@dataclass(frozen=True, slots=True)
class Options:
    """Give how a run goes: processes at once, fail-fast, time limit, elements to show."""

    jobs: int = 1
    fail_fast: bool = False
    timeout: float | None = None
    show: int = 10


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def run(cases: list[Case], options: Options, strict: bool = False) -> Generator[Event, None, None]:
    """Check `cases` and yield what happens; the last event is RunFinished also after an interrupt.

    With `strict`, warnings that are not expected fail a case.
    """
    started = time.monotonic()
    results: list[CaseResult] = []
    jobs = max(1, min(options.jobs, len(cases)))
    yield RunStarted(len(cases), jobs)
    stop_reason, environment = "completed", {}
    todo = []
    for case in cases:
        unready = _not_run(case)
        if unready is None:
            todo.append(case)
        else:
            results.append(unready)
            yield CaseFinished(unready)
    if todo:
        pool = Processes(jobs, Limits(max(1, cores() // jobs), options.show), options.timeout)
        try:
            for event in pool.run(todo):
                if isinstance(event, CaseFinished):
                    event = CaseFinished(_strictly(event.result) if strict else event.result)
                    results.append(event.result)
                yield event
                if (
                    options.fail_fast
                    and isinstance(event, CaseFinished)
                    and event.result.status in ("failed", "errored")
                ):
                    stop_reason = "fail-fast"
                    break
        except KeyboardInterrupt:
            stop_reason = "interrupted"
        finally:
            environment = dict(pool.environment)
            pool.close()
    yield RunFinished(summarize(results, time.monotonic() - started, stop_reason), environment)


def _not_run(case: Case) -> CaseResult | None:
    """Return the result of a case that is skipped, None if it is to run."""
    if case.skip:
        return CaseResult(case.id, case.spec, case.line, case.name, SKIPPED, seed=case.seed, reason=case.skip)
    return None


def _strictly(result: CaseResult) -> CaseResult:
    known = result.expected
    surplus = any(f.level == "warning" and f.code not in known and f.label not in known for f in result.findings)
    return replace(result, status=FAILED) if surplus and result.status == PASSED else result
