# SPDX-License-Identifier: Apache-2.0
"""`--accept`: today's errors become what the specs expect, so that a check begins green on an existing code base."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

from gradcheck.results import ERRORED, FAILED, FAULT, CaseResult
from gradcheck.spec.accept import accept
from gradcheck.spec.model import Case


def accept_errors(results: Iterable[CaseResult], cases: Iterable[Case]) -> Iterator[str]:
    """Write the errors of failed cases into their specs and yield what to print.

    Raises UsageError or OSError for a spec that cannot be edited; specs before it are written by then.
    """
    without_spec = {case.id for case in cases if case.guess}
    by_spec: dict[str, dict[str, list[str]]] = {}
    for result in results:
        labels = list(dict.fromkeys(f.label for f in result.findings if f.level == "error"))
        if result.status not in (FAILED, ERRORED):
            continue
        if result.id in without_spec:
            yield f"{result.id} has no spec to write to: gradcheck scaffold --from {result.id}"
        elif FAULT in labels:
            yield f"{result.id}: a fault of gradcheck is not accepted"
        elif not labels:
            yield f"{result.id}: nothing was found; delete its `expect`"
        else:
            by_spec.setdefault(result.spec, {})[result.case] = labels
    reason = f"accepted on {date.today().isoformat()}, TODO"
    for spec, found in by_spec.items():
        accept(Path(spec), found, reason)
        yield f"accepted {len(found)} case{'s' * (len(found) != 1)} in {spec}: say why in `reason`"


def left_over(results: Iterable[CaseResult], cases: Iterable[Case]) -> bool:
    """Return whether a failed case could not be accepted."""
    without_spec = {case.id for case in cases if case.guess}
    bad = [result for result in results if result.status in (FAILED, ERRORED)]
    return any(r.id in without_spec or not any(f.level == "error" for f in r.findings) for r in bad)
