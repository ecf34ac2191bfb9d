"""Run the checks in their order: which of them run, what they find, and why others do not."""

from __future__ import annotations

from collections.abc import Callable

from gradcheck.backend.tensorflow.failures import Stopped, raised_by_user
from gradcheck.backend.tensorflow.faults import own_fault
from gradcheck.backend.tensorflow.runs import OutputsChanged
from gradcheck.backend.tensorflow.runtime import give_back
from gradcheck.checks import CHECKS
from gradcheck.checks.check import Check
from gradcheck.diagnose.finding import completed
from gradcheck.diagnose.profiles import profiles_of
from gradcheck.engine.limits import Limits
from gradcheck.engine.report import Facts, Report
from gradcheck.errors import told
from gradcheck.measure.lab import Lab
from gradcheck.results import Finding, Skipped

# After these nothing that is compared means anything.
DECISIVE = frozenset({"nondeterministic", "stale-state", "state-changed"})
# What exchanged gradients look like, variable by variable.
OF_ONE_VARIABLE = frozenset({"gradient-shape", "gradient-dtype", "gradient-mismatch"})
# Inputs that nobody asked for may send an op into an endless loop; what is known before stands then.
MAY_NEVER_END = "far_values"
# Coordinates from which on a case's arrays are worth giving back between its checks.
LARGE = 2**18

Enter = Callable[[str, bool], None]


def run_checks(lab: Lab, report: Report, limits: Limits, enter: Enter) -> None:
    """Run every check that applies and add what it yields to the report.

    Raises what a check raises, after the report's facts were filled in.
    """
    large = lab.layout.inputs.width + lab.layout.outputs.width >= LARGE
    decided: str | None = None
    try:
        for check in CHECKS:
            reason = decided or check.reason_to_skip(lab, report.findings)
            if reason is not None:
                report.add(Skipped(check.name, reason))
                continue
            if check.phase == MAY_NEVER_END:
                report.facts = _facts(lab, limits)
            enter(check.phase, check.phase == MAY_NEVER_END)
            if large:
                give_back()
            _run(check, lab, report)
            decided = next((f"{f.code} was found before" for f in report.findings if _decides(f)), None)
    finally:
        _fold(lab, report)
        report.facts = _facts(lab, limits)


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
            report.add(completed(item, lab.first_way, lab.dtype) if isinstance(item, Finding) else item)
    except Stopped as stop:
        raise Stopped(completed(stop.finding, lab.first_way, lab.dtype)) from stop
    except Exception as error:
        says_something = isinstance(error, (OutputsChanged, MemoryError)) or raised_by_user(error)
        if own_fault(error) or says_something or not check.exploring:
            raise
        report.add(Skipped(check.name, f"not finished: {told(error)}"))


def _facts(lab: Lab, limits: Limits) -> Facts:
    """Return what was compared until now."""
    measurements = lab.known_measurements
    worst = [measurement.worst() for measurement in measurements]
    return Facts(
        lab.known_coverage,
        lab.known_precision,
        sum(int(m.outcome.size) for m in measurements),
        sum(int((~m.decided).sum()) for m in measurements),
        max((absolute for absolute, _ in worst), default=0.0),
        max((relative for _, relative in worst), default=0.0),
        profiles_of(lab) if limits.profiles else (),
    )
