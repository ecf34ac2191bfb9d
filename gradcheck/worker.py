"""Check one case in a process of its own: a picklable case in, a picklable result out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gradcheck.errors import told
from gradcheck.findings import CATALOGUE, INTERNAL
from gradcheck.phases import Phases
from gradcheck.results import ERRORED, FAILED, PASSED, CaseResult, Comparison, Finding, blamed
from gradcheck.spec.model import Case

# Called with each phase that begins; before the last one also with what is known by then.
Report = Callable[[str, "CaseResult | None"], None]

# Inputs that nobody asked for may send an op into an endless loop; what is known before stands then.
OPTIONAL = "far_values"
# Coordinates from which on a case's arrays are worth giving back between its phases.
LARGE = 2**18
# These look where the sample does not reach; that one of them fails says nothing of the op.
EXPLORING = ("near_values", "elsewhere", OPTIONAL)
# After these nothing that is compared means anything.
DECISIVE = ("nondeterministic", "stale-state", "state-changed")


@dataclass(frozen=True, slots=True)
class Limits:
    """Give what a worker may use and is to bring back.

    `show` is the number of worst elements per finding, `profiles` asks for every element,
    `save` is the folder that takes the numbers of failed cases.
    """

    threads: int = 1
    show: int = 10
    profiles: bool = False
    save: str | None = None


@dataclass(slots=True)
class _Notebook:
    """Collect what the checks of a case find, and how long each phase takes."""

    report: Report
    provisional: Callable[[], CaseResult | None] = lambda: None
    findings: list[Finding] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    phases: Phases = field(default_factory=Phases)
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    blamed: Any = None

    def enter(self, phase: str) -> None:
        self.phases.enter(phase)
        self.report(phase, self.provisional() if phase == OPTIONAL else None)

    def add(self, item: Finding | Comparison) -> None:
        if isinstance(item, Comparison):
            self.comparisons.append(item)
        elif not any(_same(item, known) for known in self.findings):
            self.findings.append(item)


def _same(a: Finding, b: Finding) -> bool:
    return (a.code, a.cause, a.wrt, a.mode, a.tape, a.dtype) == (b.code, b.cause, b.wrt, b.mode, b.tape, b.dtype)


def check_case(case: Case, limits: Limits, report: Report) -> CaseResult:
    """Check a case in a process that is its own; whatever the user's code raises becomes a finding."""

    def start() -> tuple[Any, tuple[str, ...]]:
        from gradcheck.autodiff.loading import load
        from gradcheck.autodiff.runtime import configure

        devices = configure(case.devices, limits.threads, case.seed)
        return load(case), devices

    return check_started(case, start, limits, report)


def check_started(
    case: Case,
    start: Callable[[], tuple[Any, tuple[str, ...]]],
    limits: Limits,
    report: Report,
    interruptible: bool = False,
) -> CaseResult:
    """Check a case; `start` returns its loaded op and the devices to check on.

    `interruptible`: a KeyboardInterrupt is the user's and goes on, it is no finding of the op.
    """
    started = time.perf_counter()

    def result() -> CaseResult:
        known = CaseResult(
            id=case.id,
            spec=case.spec,
            line=case.line,
            case=case.name,
            status=PASSED,
            duration_s=time.perf_counter() - started,
            phases_s=_rounded(notebook.phases.seconds),
            seed=case.seed,
            comparisons=tuple(notebook.comparisons),
            findings=tuple(notebook.findings),
            reason=case.reason,
            notes=tuple(dict.fromkeys(notebook.notes)),
            **notebook.facts,
        )
        return judged(known, case)

    notebook = _Notebook(report, result)
    _collect(case, start, limits, notebook, interruptible)
    notebook.phases.leave()
    return _kept(result(), limits, notebook)


def _rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    return {name: round(spent, 4) for name, spent in seconds.items()}


def _kept(result: CaseResult, limits: Limits, notebook: _Notebook) -> CaseResult:
    """Return the result after the numbers of a failed case were saved, if that is wanted."""
    if limits.save is None or notebook.blamed is None or result.status not in (FAILED, ERRORED):
        return result
    from gradcheck.checks.saved import file_name, save

    try:
        folder = Path(limits.save) / file_name(f"{Path(result.spec).stem}--{result.case}")
        return replace(result, saved=save(notebook.blamed, folder))
    except OSError as error:
        return replace(result, notes=(*result.notes, f"the failure could not be saved: {error}"))


def _collect(
    case: Case,
    start: Callable[[], tuple[Any, tuple[str, ...]]],
    limits: Limits,
    notebook: _Notebook,
    interruptible: bool,
) -> None:
    notebook.enter("import")
    from gradcheck.autodiff.failures import Stopped
    from gradcheck.autodiff.runtime import DeviceMissing

    loaded = None
    try:
        loaded, devices = start()
        for dtype in case.dtypes or (None,):
            for sample in range(case.samples):
                _check_point(loaded, dtype, sample, devices, limits, notebook)
    except DeviceMissing as error:
        notebook.add(Finding("device-fallback", str(error), hint="leave the device out with `devices:`"))
    except Stopped as stop:
        notebook.add(stop.finding)
    # Also what is no Exception: the user's code raises KeyboardInterrupt and classes of its own.
    except BaseException as error:
        if interruptible and isinstance(error, KeyboardInterrupt):
            raise
        notebook.add(_unforeseen(error, notebook.phases.current, loaded))


def _unforeseen(error: BaseException, phase: str, loaded: Any) -> Finding:
    """Return the finding for an exception that no check expects: the user's if a line of theirs raised it."""
    from gradcheck.autodiff.failures import finding_from, outputs_changed, raised_by_user
    from gradcheck.autodiff.modes import OutputsChanged

    if isinstance(error, OutputsChanged):
        return outputs_changed(error)
    if isinstance(error, MemoryError) or raised_by_user(error):
        code = {"import": "import-error", "trace": "op-error"}.get(phase, "gradient-error")
        return finding_from(error, code, loaded.probe if loaded else None)
    return Finding(
        "crashed",
        f"gradcheck failed in phase {phase}: {told(error)}",
        cause=INTERNAL,
        hint="this is a fault of gradcheck, not of the op; please report it with the op and its spec",
    )


def _check_point(
    loaded: Any, dtype: str | None, sample: int, devices: tuple[str, ...], limits: Limits, notebook: _Notebook
) -> None:
    from gradcheck.autodiff.failures import Stopped
    from gradcheck.autodiff.runtime import give_back
    from gradcheck.autodiff.subject import prepare
    from gradcheck.checks import CHECKS

    notebook.enter("trace")
    subject = prepare(loaded, dtype, sample, devices)
    subject.cache["show"] = limits.show
    large = subject.layout.inputs.width + subject.layout.outputs.width >= LARGE
    noted = False
    try:
        for phase, check in CHECKS.items():
            if phase == OPTIONAL:
                _note_facts(subject, limits, notebook)
                noted = True
            notebook.enter(phase)
            if large:
                give_back()
            with _explored(phase, notebook):
                for item in check(subject, list(notebook.findings)):
                    notebook.add(item)
            if blamed(notebook.findings, DECISIVE):
                break
    except Stopped as stop:
        notebook.add(stop.finding)
    if not noted:
        _note_facts(subject, limits, notebook)
    if notebook.blamed is None and any(finding.level == "error" for finding in notebook.findings):
        notebook.blamed = subject


@contextlib.contextmanager
def _explored(phase: str, notebook: _Notebook) -> Iterator[None]:
    """Note what fails in a phase that only explores, unless that says something of the op."""
    try:
        yield
    except Exception as error:
        from gradcheck.autodiff.failures import Stopped, raised_by_user
        from gradcheck.autodiff.modes import OutputsChanged

        told_of_the_op = isinstance(error, (Stopped, OutputsChanged, MemoryError)) or raised_by_user(error)
        if phase not in EXPLORING or told_of_the_op:
            raise
        notebook.notes.append(f"{phase}: not checked to its end: {told(error)}")


def _note_facts(subject: Any, limits: Limits, notebook: _Notebook) -> None:
    verdicts = subject.cache.get("verdicts", [])
    facts = notebook.facts
    if "coverage" in subject.cache:
        facts["coverage"] = subject.cache["coverage"].kind
    if "reference" in subject.cache:
        facts["reference"] = subject.cache["reference"].realm.name
    for name in ("elements", "inconclusive"):
        facts.setdefault(name, 0)
    notebook.notes.extend(subject.cache.get("notes", ()))
    if limits.profiles and not facts.get("profiles"):
        from gradcheck.checks.profiles import profiles_of

        facts["profiles"] = profiles_of(subject)
    for verdict in verdicts:
        facts["elements"] += int(verdict.outcome.size)
        facts["inconclusive"] += int((~verdict.decided).sum())
        for name, worst in zip(("max_abs_error", "max_rel_error"), verdict.worst(), strict=True):
            facts[name] = max(facts.get(name, 0.0), worst)


def judged(result: CaseResult, case: Case) -> CaseResult:
    """Return the result with its status: by its errors, or by what the case expects.

    With `expect`, the case passes only if exactly the listed errors are found; warnings that
    are not listed do not count.
    """
    if case.expect:
        return _judged_by_expectation(result, case.expect)
    if any(f.level == "error" and CATALOGUE[f.code].errored for f in result.findings):
        return replace(result, status=ERRORED)
    failed = any(f.level == "error" for f in result.findings)
    return replace(result, status=FAILED if failed else PASSED)


def _judged_by_expectation(result: CaseResult, expect: tuple[str, ...]) -> CaseResult:
    met = {want for want in expect for f in result.findings if want in (f.code, f.label)}
    surplus = [f for f in result.findings if f.level == "error" and f.code not in expect and f.label not in expect]
    missing = tuple(want for want in expect if want not in met)
    status = PASSED if not missing and not surplus else FAILED
    return replace(result, status=status, expected=expect, missing=missing)


def unfinished(
    case: Case, finding: Finding, duration_s: float, output: str = "", phases_s: Mapping[str, float] | None = None
) -> CaseResult:
    """Return the result of a case whose process did not live to report."""
    result = CaseResult(
        case.id,
        case.spec,
        case.line,
        case.name,
        ERRORED,
        duration_s,
        phases_s=_rounded(phases_s or {}),
        seed=case.seed,
        findings=(finding,),
        output=output,
    )
    return judged(result, case)
