# SPDX-License-Identifier: Apache-2.0
"""The status of a case for which nobody wrote a spec: its inputs were guessed, or recorded in a program."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from gradcheck.findings import ERROR, WARNING
from gradcheck.results import ERRORED, FAILED, PASSED, SKIPPED, CaseResult, Finding
from gradcheck.spec.model import Case

# What is raised where a function is called again that holds tensors of a graph which is gone.
_GONE = re.compile(r"out of scope|symbolic|different graph|KerasTensor|Keras tensor|is not an element of this graph")
_INTENDED = re.compile(r"`(intended: \[[^\]]+\])`")
# What differs between modes where the gradient is not that of the forward.
_FOLLOWS = ("mode-mismatch", "dynamic-shape")
_EXPECTATION = (
    "confirm: the forward draws random numbers, and the gradient is not that of one draw; of a sampler it may be right"
    " in expectation"
)
CONFIRM = "confirm: "
COMMAND = "gradcheck scaffold --from"


def judged_without_spec(result: CaseResult, case: Case) -> CaseResult:
    """Return the result of a case without a spec, judged by its errors before.

    It fails by wrong gradients, not by what an op raises on inputs that nobody chose for it.  A step that is meant
    to have the gradient of another function is no failure before somebody says which; a mode in which the
    recorded program may never run is worth a warning.
    """
    if case.recorded:
        result = _with_warnings(result)
    errors = [f for f in result.findings if f.level == ERROR]
    surrogates = [f for f in errors if _is_surrogate(f)]
    if result.status == FAILED and surrogates and all(f in surrogates or f.code in _FOLLOWS for f in errors):
        return replace(result, status=SKIPPED, reason=_confirmation(surrogates))
    if case.recorded and result.draws and errors and all(f.code == "gradient-mismatch" for f in errors):
        return replace(result, status=SKIPPED, reason=_EXPECTATION)
    if result.status != ERRORED:
        return result
    raised = [f for f in errors if f.code in ("op-error", "gradient-error")]
    if not raised or len(raised) < len(errors):
        return result
    message = " ".join(raised[0].message.split())
    if case.guess and raised[0].code == "gradient-error" and result.guessed and not result.guessed.differentiated:
        # With every input that was tried and that the forward takes.
        return result
    if case.guess:
        return replace(result, status=SKIPPED, reason=needs_input(case, message, result))
    if raised[0].code == "op-error" or _GONE.search(f"{message} {raised[0].traceback or ''}"):
        return replace(result, status=SKIPPED, reason=f"cannot be called again: {message}")
    # The program went on, so that it never took this gradient.
    return replace(result, status=SKIPPED, reason=f"its gradient raises, and the program never took it: {message}")


def needs_input(case: Case, why: str, result: CaseResult | None = None) -> str:
    """Return the reason for which an op without a spec is skipped, with the command to write."""
    if "` needs `" in why:
        return f"needs `build`: {why}; write: {COMMAND} {case.id}, and fill in {left_open(why)}"
    name = next(iter(result.guessed.inputs), "x") if result is not None and result.guessed else "x"
    return f"needs an input: {why}; write: gradcheck run {case.id} --input {name}=SHAPE"


def left_open(why: str) -> str:
    """Return the line of a spec that is to be filled in, with the arguments that a message says are needed."""
    names = re.findall(r"`([^`]+)`", why.partition(" needs ")[2])
    return f"`build: {{{', '.join(f'{name}: ...' for name in names)}}}`"


def _with_warnings(result: CaseResult) -> CaseResult:
    findings = tuple(replace(f, level=WARNING) if f.code == "mode-unsupported" else f for f in result.findings)
    if result.status == FAILED and not any(f.level == ERROR for f in findings):
        return replace(result, findings=findings, status=PASSED)
    return replace(result, findings=findings)


def _is_surrogate(finding: Finding) -> bool:
    """Return whether a gradient is that of another function on purpose: of the forward it would be zero."""
    if finding.code != "gradient-mismatch":
        return False
    return finding.cause == "straight-through" or _is_flat(finding)


def _is_flat(finding: Finding) -> bool:
    """Return whether the forward has no slope at any element that is listed, and the gradient has."""
    references = [(e.finite_difference, e.autodiff) for e in finding.elements]
    return bool(references) and all(slope == 0 and not autodiff for slope, autodiff in references)


def _confirmation(errors: Sequence[Finding]) -> str:
    """Return what is to be confirmed, and the line of a spec that confirms it."""
    rules = [match[1] for f in errors if (match := _INTENDED.search(f.hint or ""))]
    if rules:
        what, line = "intended: the gradient is that of a rule inside which is not that of its forward", rules[0]
    elif all(f.cause == "straight-through" for f in errors):
        what, line = "surrogate: the gradient passes the upstream through", "surrogate: identity"
    else:
        what = "surrogate: the gradient is that of another function: the forward has no slope"
        line = "surrogate: FUNCTION"
    return f"{CONFIRM}{what}; if it is meant so, write a spec with `{line}`"


def confirming(reason: str) -> str | None:
    """Return the line of a spec that confirms a gradient, None where a case was skipped for another reason."""
    before, written, line = reason.rpartition("write a spec with `")
    return line.removesuffix("`") if written and before.startswith(CONFIRM) else None
