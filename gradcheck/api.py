# SPDX-License-Identifier: Apache-2.0
"""Check gradients from Python, inside test suites that already exist."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gradcheck.engine.in_process import OP, check_here
from gradcheck.engine.limits import Limits
from gradcheck.errors import SpecError
from gradcheck.reports.plain import checked_text, failure_text
from gradcheck.reports.wording import outcome_of
from gradcheck.results import PASSED, SKIPPED, CaseResult
from gradcheck.runner import Options, not_run, results_of
from gradcheck.text import clean_line

_FUNCTIONS = ("reference", "surrogate", "expected_vjp")


class ArgumentError(SpecError, ValueError):
    """Report options or inputs of `check` that no spec could have either."""

    def __str__(self) -> str:
        return "\n".join(_as_argument(problem) for problem in self.problems)


@dataclass(frozen=True, slots=True, repr=False)
class CheckResult(CaseResult):
    """Hold what `check` found; true if the gradients are right, the table of mismatches when printed."""

    @property
    def passed(self) -> bool:
        """Return whether gradients were compared and none is wrong."""
        return self.status == PASSED

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        words = outcome_of(self)
        return f"<gradcheck of {self.case}: {self.status}{': ' + words if words else ''}>"

    def __str__(self) -> str:
        return checked_text(self)

    def _repr_html_(self) -> str:
        """Return the result as notebooks show it."""
        from gradcheck.reports.html import fragment

        return fragment(self)


def check(fn: Callable[..., Any], inputs: Any, **options: Any) -> CheckResult:
    """Check the gradients of `fn` and return what was found; the result is true if they are right.

    `inputs` is a tensor, a list or tuple of inputs in the order of `fn`'s parameters, or a mapping from
    parameter names to inputs.  An input is a tensor, an array, a number, a nested structure of them,
    or what a spec would say (`{"shape": [4, 3]}`); other objects are handed to `fn` as they are.
    `options` are the keys of a case in a spec; `reference`, `surrogate` and `expected_vjp` take
    functions, `name` names the case, `show` is the number of worst elements per finding.
    Runs in this process, whose random state is left as it was found; `timeout` is not kept.

    Raises ArgumentError (a ValueError) for options or inputs that a spec could not have either, TypeError if
    `fn` cannot be called, RuntimeError inside of a graph.
    """
    from gradcheck.backend.tensorflow.given import call_of, case_of
    from gradcheck.backend.tensorflow.runtime import in_graph

    if not callable(fn):
        raise TypeError(f"fn must be a function or a layer, is {type(fn).__name__}")
    show = options.pop("show", 10)
    name = options.pop("name", None) or getattr(fn, "__name__", type(fn).__name__)
    functions = {key: options[key] for key in _FUNCTIONS if callable(options.get(key))}
    try:
        keys = {**options, **{key: f"gradcheck_{key}" for key in functions}}
        case = case_of(name, OP, call_of(fn, inputs), keys)
    except SpecError as error:
        raise ArgumentError(error.problems) from None
    if in_graph():
        raise RuntimeError("gradcheck.check runs the op eagerly: call it outside of tf.Graph and tf.function")
    named = {f"gradcheck_{key}": function for key, function in functions.items()}
    result = not_run(case) or check_here(fn, case, Limits(show=show), named)
    return CheckResult(**{field.name: getattr(result, field.name) for field in fields(CaseResult)})


def assert_gradients(fn: Callable[..., Any], inputs: Any, **options: Any) -> None:
    """Check as `check` does and raise AssertionError with the table of mismatches if the case does not pass.

    A case in which nothing could be compared does not pass either.
    """
    __tracebackhide__ = True
    result = check(fn, inputs, **options)
    if result.status not in (PASSED, SKIPPED):
        raise AssertionError(failure_text(result))
    if result.status == PASSED and not result.comparisons and not result.expected:
        why = "; ".join(finding.message for finding in result.findings) or "no input has a gradient"
        raise AssertionError(f"gradients of {result.case}: nothing was compared: {why}")


def assert_spec(path: str | Path) -> None:
    """Check the cases of a spec, each in a process of its own.

    Raises AssertionError with what is wrong if one does not pass, SpecError if the spec is
    wrong, NothingSelected if it has no case.
    """
    __tracebackhide__ = True
    from gradcheck.spec.discover import load, select

    results = results_of(select(load([str(path)])), Options())
    bad = [result for result in results if result.status not in (PASSED, SKIPPED)]
    if bad:
        raise AssertionError("\n".join(failure_text(result) for result in bad))


def _as_argument(problem: Any) -> str:
    """Return a problem of a case in the words of a call: `inputs['x']: dtype: ...`."""
    keys = problem.path.split(".")[2:]
    first, rest = (f"inputs['{keys[1]}']", keys[2:]) if keys[:1] == ["inputs"] and len(keys) > 1 else ("", keys)
    place = ": ".join(part for part in (first, ".".join(rest)) if part)
    hint = f"; {problem.hint}" if problem.hint else ""
    return clean_line(f"gradcheck.check: {place + ': ' if place else ''}{problem.message}{hint}")
