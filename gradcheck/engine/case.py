# SPDX-License-Identifier: Apache-2.0
"""Check one case: a picklable case in, a picklable result out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradcheck.diagnose.finding import completed
from gradcheck.engine.limits import Limits
from gradcheck.engine.phases import Phases
from gradcheck.engine.report import Report, merged
from gradcheck.engine.status import judged, rounded
from gradcheck.engine.unspecified import judged_without_spec
from gradcheck.errors import NeedsInput, one_line
from gradcheck.findings import INTERNAL
from gradcheck.results import ERRORED, FAILED, PASSED, SKIPPED, CaseResult, Finding, Guessed
from gradcheck.scanning.returns import source_at
from gradcheck.spec.model import Case
from gradcheck.ways import SAVED

if TYPE_CHECKING:
    from gradcheck.backend.tensorflow.loading import Loaded
    from gradcheck.measure.lab import Lab

# Called with each phase that begins; before an endless one also with what is known by then.
Progress = Callable[[str, "CaseResult | None"], None]
# Returns the loaded op and the devices to check on.
Start = Callable[[], "tuple[Loaded, tuple[str, ...]]"]


@dataclass(slots=True)
class Notebook:
    """Keep the reports of a case, one per sample and dtype, and how long each phase takes."""

    case: Case
    progress: Progress
    started: float = field(default_factory=time.perf_counter)
    reports: list[Report] = field(default_factory=list)
    phases: Phases = field(default_factory=Phases)
    failed: Lab | None = None
    guessed: Guessed | None = None
    needs: str | None = None

    def enter(self, phase: str, with_result: bool = False) -> None:
        """Begin a phase; `with_result` says that it may never end, so that what is known is handed on first."""
        self.phases.enter(phase)
        self.progress(phase, self.result() if with_result else None)

    def has_time(self, limits: Limits) -> bool:
        """Return whether there is time for an exploring check at the current sample."""
        samples = len(self.case.dtypes or (None,)) * self.case.samples
        return limits.has_time_for_more(time.perf_counter() - self.started, len(self.reports) / samples)

    def result(self) -> CaseResult:
        """Return what is known by now."""
        case = self.case
        known = CaseResult(
            id=case.id,
            spec=case.spec,
            line=case.line,
            case=case.name,
            status=PASSED,
            duration_s=time.perf_counter() - self.started,
            phases_s=rounded(self.phases.seconds),
            seed=case.seed,
            reason=case.reason,
            guessed=self.guessed,
            **merged(self.reports),
        )
        if self.needs is not None:
            return replace(known, status=SKIPPED, reason=self.needs)
        known = judged(known, case)
        return judged_without_spec(known, case) if case.guess or case.recorded else known


def check_case(case: Case, limits: Limits, progress: Progress) -> CaseResult:
    """Check a case in a process that is its own; whatever the user's code raises becomes a finding."""

    def start() -> tuple[Loaded, tuple[str, ...]]:
        from gradcheck.backend.tensorflow.fresh_process import started
        from gradcheck.backend.tensorflow.loading import load
        from gradcheck.backend.tensorflow.runtime import configure

        if SAVED in case.modes:
            # Imports TensorFlow while the other checks run.
            started()
        devices = configure(case.devices, limits.threads, case.seed, 2 if case.strategy else 1)
        return load(case), devices

    return check_started(case, start, limits, progress)


def check_started(
    case: Case, start: Start, limits: Limits, progress: Progress, interruptible: bool = False
) -> CaseResult:
    """Check a case; `start` returns its loaded op and the devices to check on.

    `interruptible`: a KeyboardInterrupt is the user's and goes on, it is no finding of the op.
    """
    notebook = Notebook(case, progress)
    _collect(case, start, limits, notebook, interruptible)
    notebook.phases.leave()
    return _saved(notebook.result(), limits, notebook)


def _saved(result: CaseResult, limits: Limits, notebook: Notebook) -> CaseResult:
    """Return the result after the numbers of a failed case were saved, if that is wanted."""
    if limits.save is None or notebook.failed is None or result.status not in (FAILED, ERRORED):
        return result
    from gradcheck.engine.saved_arrays import file_name, save

    try:
        folder = Path(limits.save) / file_name(f"{Path(result.spec).with_suffix('').as_posix()}--{result.case}")
        return replace(result, saved=save(notebook.failed, folder, _shown_by(result)))
    except OSError as error:
        return replace(result, notes=(*result.notes, f"the failure could not be saved: {error}"))


def _shown_by(result: CaseResult) -> Mapping[str, Any] | None:
    """Return the inputs that show what is wrong, None where the sample itself does."""
    errors = [finding for finding in result.findings if finding.level == "error"]
    return errors[0].counterexample if errors and all(finding.counterexample for finding in errors) else None


def _collect(case: Case, start: Start, limits: Limits, notebook: Notebook, interruptible: bool) -> None:
    notebook.enter("import")
    loaded = None
    try:
        loaded, devices = start()
        notebook.guessed = loaded.guess
    except NeedsInput as error:
        notebook.needs = str(error)
        return
    # Also what is no Exception: the user's code raises KeyboardInterrupt and classes of its own.
    except BaseException as error:
        _add_failure(notebook, Report(), error, loaded, None, interruptible)
        return
    for dtype in case.dtypes or (None,):
        for sample in range(case.samples):
            report = Report(notes=list(loaded.notes))
            try:
                _check_sample(loaded, dtype, sample, devices, limits, notebook, report)
            except BaseException as error:
                _add_failure(notebook, report, error, loaded, dtype, interruptible)


def _add_failure(
    notebook: Notebook,
    report: Report,
    error: BaseException,
    loaded: Loaded | None,
    dtype: str | None,
    interruptible: bool,
) -> None:
    """Add the finding for an exception to the report of a sample: what was found there before stays."""
    if interruptible and isinstance(error, KeyboardInterrupt):
        raise error
    finding = completed(failure(error, notebook.phases.current, loaded), None, dtype)
    if finding.source is None and finding.file and finding.line:
        finding = replace(finding, source=source_at(finding.file, finding.line))
    report.add(finding)
    if not any(report is known for known in notebook.reports):
        notebook.reports.append(report)


def failure(error: BaseException, phase: str, loaded: Loaded | None) -> Finding:
    """Return the finding for an exception: the op's if its code was running, else a fault of gradcheck's own."""
    from gradcheck.backend.tensorflow.failures import Stopped, finding_from, outputs_changed, raised_by_user
    from gradcheck.backend.tensorflow.faults import own_fault
    from gradcheck.backend.tensorflow.runs import OutputsChanged
    from gradcheck.backend.tensorflow.runtime import DeviceMissing

    if isinstance(error, DeviceMissing):
        return Finding("device-fallback", str(error), hint="leave the device out with `devices:`")
    if isinstance(error, Stopped):
        return error.finding
    if isinstance(error, OutputsChanged):
        return outputs_changed(error)
    if not own_fault(error) and (isinstance(error, MemoryError) or raised_by_user(error)):
        code = {"import": "import-error", "trace": "op-error"}.get(phase, "gradient-error")
        return finding_from(error, code, loaded.recorder if loaded else None)
    return Finding(
        "crashed",
        f"gradcheck failed in phase {phase}: {one_line(error)}",
        cause=INTERNAL,
        hint="this is a fault of gradcheck, not of the op; please report it with the op and its spec",
    )


def _check_sample(
    loaded: Loaded,
    dtype: str | None,
    sample: int,
    devices: tuple[str, ...],
    limits: Limits,
    notebook: Notebook,
    report: Report,
) -> None:
    """Run the checks at one sample in one dtype."""
    from gradcheck.engine.plan import mend, run_checks
    from gradcheck.measure.prepare import prepare

    notebook.enter("trace")
    notebook.reports.append(report)
    lab = prepare(loaded, dtype, sample, devices)
    lab.show = limits.show
    try:
        run_checks(lab, report, limits, notebook)
        if limits.mends:
            mend(lab, report, notebook)
    finally:
        if notebook.failed is None and report.has_error():
            notebook.failed = lab
