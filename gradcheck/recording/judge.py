# SPDX-License-Identifier: Apache-2.0
"""Check recorded calls in the program's own process, when the program has ended."""

from __future__ import annotations

import contextlib
import gc
import pickle
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from gradcheck.backend.tensorflow.replay import replay_of
from gradcheck.calls import Kept, Site
from gradcheck.engine.in_process import check_here
from gradcheck.engine.limits import Limits
from gradcheck.engine.status import unfinished
from gradcheck.errors import one_line
from gradcheck.findings import INTERNAL
from gradcheck.recording.seen import case_for, seen_in
from gradcheck.recording.settings import CURRENT, Settings
from gradcheck.results import SKIPPED, CaseResult, Finding
from gradcheck.time_limits import OutOfTime, time_limit

# A part of the time limit, so that a case ends by itself and the process need not be ended.
OWN_LIMIT = 0.9


def judge(sites: list[Site], settings: Settings, folder: Path, modes: tuple[str, ...]) -> None:
    """Check the kept calls of every site that is not checked apart, and write a result for each.

    The first call of each site comes first; further ones are checked while `settings.budget` lasts.
    A KeyboardInterrupt ends it, and a result that cannot be written; what is left has no result.
    """
    started = time.monotonic()
    here = [site for site in sites if not (site.own or site.checked_apart or site.reason)]
    calls = sorted(((number, site, call) for site in here for number, call in _calls(site)), key=lambda c: c[0])
    with contextlib.suppress(KeyboardInterrupt, OSError):
        for number, site, call in calls:
            if number > 1 and time.monotonic() - started > settings.budget:
                break
            name = site.title if number == 1 else f"{site.title} ({number})"
            (folder / CURRENT).write_text(name)
            result = _judged(site, call, name, settings, modes)
            with (folder / f"result-{site.number}-{number}.pickle").open("wb") as file:
                pickle.dump(result, file)
            # Traced and compiled functions hold each other; a program may have many sites.
            gc.collect()
    with contextlib.suppress(OSError):
        (folder / CURRENT).unlink()


def _calls(site: Site) -> Iterator[tuple[int, Kept]]:
    kept = [call for signature in site.signatures.values() for call in signature.kept]
    yield from enumerate(kept, 1)


def _judged(site: Site, call: Kept, name: str, settings: Settings, modes: tuple[str, ...]) -> CaseResult:
    started = time.monotonic()
    try:
        replay = replay_of(call)
        seen = seen_in([replay_of(other).inputs for _, other in _calls(site)])
        case = replace(case_for(replay, name, seen, modes), timeout=settings.timeout)
    except Exception as error:
        return _placed(_not_repeated(site, name, one_line(error)), site, name)
    limits = Limits(show=settings.show, seconds=OWN_LIMIT * settings.timeout)
    try:
        with time_limit(settings.timeout), _variables_kept(call):
            result = check_here(replay.op, case, limits)
    except Exception as error:
        fault = Finding("crashed", f"gradcheck failed: {one_line(error)}", cause=INTERNAL)
        result = unfinished(case, fault, time.monotonic() - started)
    except OutOfTime:
        message = f"ran longer than {settings.timeout:g} s"
        result = unfinished(case, Finding("timeout", message, hint="raise --timeout"), time.monotonic() - started)
    return _placed(result, site, name)


def _not_repeated(site: Site, name: str, why: str) -> CaseResult:
    return CaseResult("", site.file, site.line, name, SKIPPED, reason=f"cannot be called again: {why}")


def _placed(result: CaseResult, site: Site, name: str) -> CaseResult:
    """Return the result with the place of the site in the user's file; the report makes the id of it."""
    return replace(result, id=f"{site.file}:{site.line}::{name}", spec=site.file, line=site.line, case=name)


@contextlib.contextmanager
def _variables_kept(call: Kept) -> Iterator[None]:
    """Give the variables that a recorded function holds their values back after the block."""
    from gradcheck.backend.tensorflow.closures import variables_of
    from gradcheck.backend.tensorflow.operation import State

    state = State.of(variables_of(call.function))
    try:
        yield
    finally:
        with contextlib.suppress(Exception):
            state.restore()
