# SPDX-License-Identifier: Apache-2.0
"""What a check finds: frozen records that go over a pipe and into JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SCHEMA_VERSION = 1

PASSED, FAILED, ERRORED, SKIPPED = "passed", "failed", "errored", "skipped"
FAULT = "crashed/internal"
IDENTICAL, ROUNDED, DIFFERENT, OPEN = "identical", "rounded", "different", "open"
INTERRUPTED, TERMINATED = "interrupted", "terminated"


@dataclass(frozen=True, slots=True)
class Element:
    """Compare the three gradients at one element; `index` counts inside the input.

    `slope` is the gradient divided by the upstream, of an op that works element by element; `exact` is the derivative
    in exact arithmetic, where that was asked for.
    """

    index: tuple[int, ...]
    input: Any
    analytic: Any
    autodiff: Any
    finite_difference: Any
    abs_error: float
    rel_error: float
    tolerance: float
    modes: Mapping[str, Any] = field(default_factory=dict)
    upstream: float | None = None
    slope: float | None = None
    exact: float | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Name a line of the user's code: its file, the function around it where that is known, and its text."""

    file: str
    line: int
    function: str
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """State one thing that is wrong, where, and what to change.

    What a check leaves open is filled in by `gradcheck.diagnose.completed`: `level` by the
    catalogue, `mode`, `tape` and `device` by the first way in which the case runs, `dtype`.
    `fix` is a line of code that was tried and mends it;
    `wrong` is the number of elements that it is about, where more of them are wrong than are listed;
    `counterexample` holds the smallest inputs that show it, as a spec writes them.
    """

    code: str
    message: str
    cause: str | None = None
    level: str = ""
    hint: str | None = None
    wrt: str | None = None
    mode: str | None = None
    tape: str | None = None
    device: str | None = None
    dtype: str | None = None
    elements: tuple[Element, ...] = ()
    modes: tuple[str, ...] = ()
    traceback: str | None = None
    file: str | None = None
    line: int | None = None
    source: Source | None = None
    counterexample: Mapping[str, Any] = field(default_factory=dict)
    wrong: int = 0
    fix: str = ""

    @property
    def label(self) -> str:
        """Return `code` or `code/cause`, the form that `expect` uses."""
        return f"{self.code}/{self.cause}" if self.cause else self.code


@dataclass(frozen=True, slots=True)
class Skipped:
    """Name a check, or a part of one, that did not run, and say why; `asked` is whether the case asks for it."""

    name: str
    reason: str
    asked: bool = True


@dataclass(frozen=True, slots=True)
class Exempted:
    """Say why a check did not blame a number of elements that differ."""

    reason: str
    check: str
    elements: int


@dataclass(frozen=True, slots=True)
class Cost:
    """Hold the median seconds of forward, custom gradient and autodiff gradient in one way, and their peak bytes.

    A gradient is forward and backward together; memory is None where it is too little to be measured.
    """

    way: str
    rows: int
    forward_s: float
    gradient_s: float
    autodiff_s: float
    gradient_bytes: int | None = None
    autodiff_bytes: int | None = None

    @property
    def speed(self) -> float:
        """Return how many times as fast the custom gradient is."""
        return self.autodiff_s / max(self.gradient_s, 1e-9)

    @property
    def memory(self) -> float | None:
        """Return the share of autodiff's memory that the custom gradient takes, None if it is not known."""
        if self.gradient_bytes is None or self.autodiff_bytes is None:
            return None
        return self.gradient_bytes / max(self.autodiff_bytes, 1)

    @property
    def worth_it(self) -> bool:
        """Return whether the custom gradient is clearly faster or takes clearly less memory."""
        return self.speed > 1.05 or (self.memory is not None and self.memory < 0.95)


@dataclass(frozen=True, slots=True)
class Note:
    """State a fact that a check found beside its comparisons."""

    text: str


@dataclass(frozen=True, slots=True)
class Exact:
    """Say what exact arithmetic finds: `identical` to a number of digits, `rounded`, `different` or `open`.

    `rounded` is the same formula but for constants that were rounded; `size` is the difference relative to the terms
    and `factor` the common one, less one; `why`, `op`, `file` and `line` say what keeps a comparison open.
    """

    verdict: str
    digits: int = 0
    size: float = 0.0
    why: str = ""
    op: str = ""
    file: str = ""
    line: int = 0
    factor: float | None = None
    points: int = 1

    @property
    def rank(self) -> int:
        """Return how much a verdict weighs beside those at other points."""
        return (IDENTICAL, ROUNDED, OPEN, DIFFERENT).index(self.verdict)


@dataclass(frozen=True, slots=True)
class Unreached:
    """Name a side of a condition that no tried input reached: `side` is when it is true or false, `why` the reason."""

    file: str
    line: int
    op: str
    side: bool
    why: str


@dataclass(frozen=True, slots=True)
class Reach:
    """Count the sides of the conditions in forward and grad_fn, those that were reached, and name the others.

    `only_in_grad` are the places of conditions that grad_fn has and the forward has not.
    """

    sides: int = 0
    reached: int = 0
    unreached: tuple[Unreached, ...] = ()
    only_in_grad: tuple[str, ...] = ()

    @property
    def percent(self) -> float:
        """Return the share that was reached; all of nothing."""
        return 100.0 * self.reached / self.sides if self.sides else 100.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """Sum up one comparison of a gradient with its reference."""

    check: str
    wrt: str
    mode: str
    tape: str | None
    device: str
    dtype: str
    ok: bool
    elements: int
    max_abs_error: float
    max_rel_error: float
    tolerance: float


@dataclass(frozen=True, slots=True)
class Convergence:
    """Hold the finite difference of one element at shrinking steps; `error` is its bound there."""

    index: tuple[int, ...]
    steps: tuple[float, ...]
    estimates: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """Hold the three gradients of one input at every element, for pictures.

    The tuples are flat in C order of `shape`; `autodiff` is empty where there is none.
    """

    wrt: str
    shape: tuple[int, ...]
    input: tuple[float, ...]
    analytic: tuple[float, ...]
    autodiff: tuple[float, ...]
    finite_difference: tuple[float, ...]
    error: tuple[float, ...]
    wrong: tuple[bool, ...]
    elements: int
    convergence: tuple[Convergence, ...] = ()


@dataclass(frozen=True, slots=True)
class Saved:
    """Say where the numbers of a failed case lie: a file per input (by name) and per upstream."""

    folder: str
    dtype: str
    inputs: Mapping[str, str]
    upstream: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Guessed:
    """Hold what an op without a spec was checked with, as a spec would say it.

    `differentiated` says whether its gradient could be taken with any of the inputs that were tried.
    """

    inputs: Mapping[str, Any]
    arguments: Mapping[str, Any]
    build: Mapping[str, Any] | None = None
    differentiated: bool = True


@dataclass(frozen=True, slots=True)
class CaseResult:
    """Hold all that is known about one case after its check."""

    id: str
    spec: str
    line: int
    case: str
    status: str
    duration_s: float = 0.0
    phases_s: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    coverage: str = "full"
    reference: str = ""
    max_abs_error: float = 0.0
    max_rel_error: float = 0.0
    elements: int = 0
    inconclusive: int = 0
    draws: bool = False
    comparisons: tuple[Comparison, ...] = ()
    findings: tuple[Finding, ...] = ()
    expected: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    expect_line: int = 0
    reason: str | None = None
    notes: tuple[str, ...] = ()
    skipped_checks: tuple[Skipped, ...] = ()
    exemptions: tuple[Exempted, ...] = ()
    conditions: Reach = Reach()
    cost: tuple[Cost, ...] = ()
    exact: Exact | None = None
    output: str = ""
    profiles: tuple[Profile, ...] = ()
    saved: Saved | None = None
    guessed: Guessed | None = None
    rerun: str = ""

    @property
    def warnings(self) -> int:
        """Return how many findings are warnings."""
        return sum(finding.level == "warning" for finding in self.findings)


@dataclass(frozen=True, slots=True)
class RunSummary:
    """Count the cases of a run by status."""

    cases: int
    passed: int
    failed: int
    errored: int
    skipped: int
    warnings: int
    duration_s: float
    stop_reason: str = "completed"
    faults: int = 0
    not_run: int = 0
    conditions: Reach = Reach()
    exact: Mapping[str, int] = field(default_factory=dict)


def summarize(results: list[CaseResult], duration_s: float, stop_reason: str, not_run: int = 0) -> RunSummary:
    """Count `results` by status."""
    statuses = [result.status for result in results]
    return RunSummary(
        cases=len(results),
        passed=statuses.count(PASSED),
        failed=statuses.count(FAILED),
        errored=statuses.count(ERRORED),
        skipped=statuses.count(SKIPPED),
        warnings=sum(result.warnings for result in results),
        duration_s=duration_s,
        stop_reason=stop_reason,
        faults=sum(any(f.label == FAULT for f in result.findings) for result in results),
        not_run=not_run,
        exact=Counter(result.exact.verdict for result in results if result.exact is not None),
        conditions=Reach(
            sum(result.conditions.sides for result in results), sum(result.conditions.reached for result in results)
        ),
    )
