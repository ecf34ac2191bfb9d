# SPDX-License-Identifier: Apache-2.0
"""Run the checks in their order: which of them run, what they find, and why others do not."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Protocol

from gradcheck.backend.tensorflow.failures import Stopped, first_line, raised_by_user
from gradcheck.backend.tensorflow.faults import own_fault, refused
from gradcheck.backend.tensorflow.runs import OutputsChanged
from gradcheck.backend.tensorflow.runtime import give_back
from gradcheck.checks import CHECKS
from gradcheck.checks.check import Check
from gradcheck.checks.whole import faults_left
from gradcheck.diagnose.conditions import with_suspects
from gradcheck.diagnose.finding import completed
from gradcheck.diagnose.mends import with_mend
from gradcheck.diagnose.places import placed
from gradcheck.diagnose.profiles import profiles_of
from gradcheck.diagnose.undecided import undecided_elements
from gradcheck.engine.limits import Limits
from gradcheck.engine.phases import MENDS
from gradcheck.engine.report import Facts, Report
from gradcheck.errors import one_line
from gradcheck.measure.edited import FaultsLeft, Trials
from gradcheck.measure.lab import Lab
from gradcheck.measure.prepare import prepare_at
from gradcheck.results import Finding, Skipped
from gradcheck.sites.variables import other_variables

# After these nothing that is compared means anything.
DECISIVE = frozenset({"nondeterministic", "stale-state", "state-changed"})
# What exchanged gradients look like, variable by variable.
OF_ONE_VARIABLE = frozenset({"gradient-shape", "gradient-dtype", "gradient-mismatch"})
# What an op looks like that is used up by calls, when it raises in a check that tries it otherwise.
LIKE_USED_UP = frozenset({"mode-unsupported", "dynamic-shape", "second-order-missing"})
# Inputs that nobody asked for may send an op into an endless loop; what is known before stands then.
MAY_NEVER_END = frozenset({"far_values", "special_numbers"})
NO_TIME = "no time left (`timeout`)"
# Coordinates from which on a case's arrays are worth giving back between its checks.
LARGE = 2**18


class Progress(Protocol):
    """Say what runs, and whether there is time for more."""

    def enter(self, phase: str, with_result: bool = False) -> None:
        """Begin a phase; `with_result` says that it may never end."""

    def has_time(self, limits: Limits) -> bool:
        """Return whether there is time for an exploring check."""


def run_checks(lab: Lab, report: Report, limits: Limits, progress: Progress) -> None:
    """Run every check that applies and for which there is time, and add what it yields to the report.

    Raises what a check raises, after the report's facts were filled in.
    """
    large = lab.layout.inputs.width + lab.layout.outputs.width >= LARGE
    decided: str | None = None
    try:
        for check in CHECKS:
            reason = decided or check.reason_to_skip(lab, report.findings)
            if reason is None and check.exploring and not progress.has_time(limits):
                reason = NO_TIME
            if reason is not None:
                report.add(Skipped(check.name, reason, check.is_asked_for(lab)))
                continue
            if check.phase in MAY_NEVER_END:
                report.facts = _facts(lab, limits)
            progress.enter(check.phase, check.phase in MAY_NEVER_END)
            if large:
                give_back()
            known = len(report.findings)
            _run(check, lab, report)
            if any(f.level == "error" and f.code in LIKE_USED_UP for f in report.findings[known:]):
                used_up = _used_up(lab)
                report.findings[known:] = [used_up] if used_up else report.findings[known:]
            decided = next((f"{f.code} was found before" for f in report.findings if _decides(f)), None)
        if not report.has_error() and (used_up := _used_up(lab) or _raised_once(lab)):
            report.add(used_up)
    finally:
        copies = lab.recorder.copies
        if copies is not None and (count := copies.came_back()):
            report.add(completed(_forks(count), lab.first_way, lab.dtype))
        _fold(lab, report)
        report.facts = _facts(lab, limits)


def _used_up(lab: Lab) -> Finding | None:
    """Return a finding if the op that worked at its sample raises there now, None if it works on.

    What is used up by many calls shows only after them.
    """
    if lab.known_run is None:
        return None
    try:
        lab.run()
    except Exception as error:
        if own_fault(error):
            raise
        failure = lab.recorder.gradient_failure or error
        finding = Finding(
            "stale-state",
            f"the op works at first and raises after a number of calls on the same inputs: {first_line(failure)}",
            hint="something is used up by calls (a buffer, a handle, a count): use only the tensors of the call",
        )
        return completed(finding, lab.first_way, lab.dtype)
    return None


def _raised_once(lab: Lab) -> Finding | None:
    """Return a finding if a function of the op raised in one call and returned in another with the same inputs."""
    error = lab.recorder.calls.odd()
    if error is None:
        return None
    finding = Finding(
        "stale-state",
        f"a function of the op raises in one of its calls and returns in another with the same inputs:"
        f" {first_line(error)}",
        hint="what a call does must depend on its tensors alone: look for a count, a cache or a random choice",
    )
    return completed(finding, lab.first_way, lab.dtype)


def _forks(count: int) -> Finding:
    return Finding(
        "op-error",
        f"the op forks the process (os.fork) and both halves come back from the call: {count} copies were ended",
        hint="use subprocess or multiprocessing, or end the child with os._exit before it returns",
    )


def _fold(lab: Lab, report: Report) -> None:
    """Leave out what is wrong with single variables where their gradients are exchanged: to order them cures it."""
    if report.has_error({"variables-order"}):
        names = {variable.name for variable in lab.variables}
        report.findings[:] = [f for f in report.findings if f.code not in OF_ONE_VARIABLE or f.wrt not in names]


def _decides(finding: Finding) -> bool:
    return finding.level == "error" and finding.code in DECISIVE


def _run(check: Check, lab: Lab, report: Report) -> None:
    try:
        for item in check.ask(lab, list(report.findings)):
            report.add(_whole(item, lab) if isinstance(item, Finding) else item)
    except Stopped as stop:
        used_up = _used_up(lab) if stop.finding.code == "gradient-error" else None
        raise Stopped(used_up or _whole(stop.finding, lab)) from stop
    except Exception as error:
        if not own_fault(error) and (used_up := _used_up(lab)):
            raise Stopped(used_up) from error
        says_something = isinstance(error, (OutputsChanged, MemoryError)) or raised_by_user(error)
        if own_fault(error) or says_something or not check.exploring:
            raise
        report.add(Skipped(check.name, f"not finished: {one_line(error)}"))


def _whole(finding: Finding, lab: Lab) -> Finding:
    """Return a finding with its way, its level and its source line."""
    return with_suspects(lab, placed(completed(finding, lab.first_way, lab.dtype), lab))


def mend(lab: Lab, report: Report, progress: Progress) -> None:
    """Look for the lines of code that mend the mismatches of a report, last.

    Code that nobody wrote is run, which may end the process: what is known is handed on before.
    """
    places = [i for i, finding in enumerate(report.findings) if finding.code == "gradient-mismatch"]
    trials = Trials()
    others = [finding for finding in report.findings if finding.code != "gradient-mismatch"]
    left = partial(faults_left, before=others)
    for i in places:
        progress.enter(MENDS, with_result=True)
        report.findings[i] = with_mend(lab, report.findings[i], left, trials)
        if not report.findings[i].fix:
            report.findings[i] = _with_mend_at_other_variables(lab, report.findings[i], left)
    # What cured a later input may cure one for which there was no time.
    for i in places if trials.cures else ():
        if not report.findings[i].fix:
            again = replace(trials, ended=True)
            report.findings[i] = with_mend(lab, report.findings[i], left, again)


def _with_mend_at_other_variables(lab: Lab, finding: Finding, left: FaultsLeft) -> Finding:
    """Return a mismatch that only other values of the variables show with its mend: weights of one hide factors."""
    if any(m.wrong.any() for m in lab.known_measurements):
        return finding
    try:
        for there in other_variables(lab):
            there.state.restore()
            again = refused(lambda there=there: prepare_at(lab, there.values))  # type: ignore[misc]
            if again is not None and any(m.slot.name == finding.wrt and m.wrong.any() for m in again.measurements):
                return with_mend(again, finding, left, Trials())
    except Stopped:
        pass
    finally:
        lab.gradients.state.restore()
    return finding


def _facts(lab: Lab, limits: Limits) -> Facts:
    """Return what was compared until now."""
    measurements = lab.known_measurements
    worst = [measurement.worst() for measurement in measurements]
    return Facts(
        *lab.known_kinds,
        lab.layout.inputs.width if lab.case.expectation else sum(int(m.outcome.size) for m in measurements),
        sum(int((~m.decided | undecided_elements(m)).sum()) for m in measurements),
        max((absolute for absolute, _ in worst), default=0.0),
        max((relative for _, relative in worst), default=0.0),
        profiles_of(lab) if limits.profiles else (),
        lab.facts.random or lab.facts.stateless,
    )
