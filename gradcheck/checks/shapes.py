"""The op traced with unknown dimensions and called with two sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.autodiff.failures import finding_from
from gradcheck.autodiff.modes import as_tensor, pull_back, spec_of, to_array
from gradcheck.autodiff.noise import DRAWS, NOISY, last_digit_moved, own_gradient
from gradcheck.autodiff.operation import Operation, floating
from gradcheck.autodiff.subject import Subject
from gradcheck.autodiff.tracing import GradientTape, function
from gradcheck.checks.gradients import main_gradient
from gradcheck.checks.sizes import one_row_more, pull, upstream_of
from gradcheck.numerics.closeness import close, largest
from gradcheck.results import Comparison, Finding, blamed

PHASE = "dynamic_shapes"
FAILED = (
    "mode-mismatch",
    "value-mismatch",
    "mode-unsupported",
    "gradient-shape",
    "gradient-count",
    "gradient-dtype",
    "stale-state",
    "variables-order",
    "nondeterministic",
)


def check(subject: Subject, found: Sequence[Finding]) -> Iterator[Finding | Comparison]:
    """Trace once with unknown leading dimensions, call with two sizes, compare with eager."""
    case = subject.case
    if case.dynamic_shapes is False or "function" not in case.modes or blamed(found, FAILED):
        return
    if subject.gradients.seed is not None or not subject.sources or not subject.layout.outputs.width:
        return
    grown = _grown(subject) or (_unknown_alone(subject) if case.dynamic_shapes else None)
    if grown is None:
        return
    free, points = grown
    finding = _compared(subject, free, points, _loose(subject, found))
    if finding is None:
        return
    if not case.dynamic_shapes and not _plain_traces(subject, free):
        # A forward that needs its sizes when it is traced says nothing of its gradient.
        message = f"the forward itself {finding.message}"
        finding = replace(finding, message=message, level="warning")
    yield finding


def _compared(subject: Subject, free: list[int], points: Sequence[list[Any]], loose: float) -> Finding | None:
    """Trace once, hold the gradient at each point against eager's."""
    try:
        traced = _traced(subject, subject.operation, free)
        for point in points:
            wanted, weights = _eager(subject, point)
            got = _call(subject, traced, point, weights)
            if not _agree(wanted, got, loose) and not _is_noise(subject, point, wanted, got):
                return _finding("the gradient of a function traced with unknown dimensions differs from eager", None)
    except Exception as error:
        if not subject.custom and not subject.case.dynamic_shapes:
            # No gradient of the user's is involved: TensorFlow's own ops need the shape.
            return None
        cause = subject.probe.gradient_failure or error
        told = finding_from(cause, "dynamic-shape", subject.probe)
        return _finding(f"fails when traced with unknown dimensions: {told.message}", told)
    return None


def _finding(message: str, told: Finding | None) -> Finding:
    return Finding(
        "dynamic-shape",
        message,
        hint="use tf.shape(x) instead of x.shape where a dimension may be unknown",
        mode="function",
        traceback=told.traceback if told else None,
        file=told.file if told else None,
        line=told.line if told else None,
    )


def _grown(subject: Subject) -> tuple[list[int], list[list[Any]]] | None:
    """Return which leaves may grow along their first axis, and the sample with values of one more row."""
    found = one_row_more(subject)
    if found is None:
        return None
    values, _ = found
    free = [i for i, (a, b) in enumerate(zip(values, subject.values, strict=True)) if a is not b]
    return free, [list(subject.values), values]


def _unknown_alone(subject: Subject) -> tuple[list[int], list[list[Any]]] | None:
    """Return the leaves that have a first axis, and the sample: an op made for one size can be traced without it."""
    free = [i for i, value in enumerate(subject.values) if np.ndim(value)]
    return (free, [list(subject.values)]) if free else None


def _specs(subject: Subject, free: list[int]) -> list[Any]:
    return [spec_of(value, rows=i not in free) for i, value in enumerate(subject.values)]


def _plain_traces(subject: Subject, free: list[int]) -> bool:
    """Return whether the bare forward can be traced with unknown dimensions and differentiated."""
    try:
        subject.gradients.state.restore()
        plain = subject.plain()
        function(plain).get_concrete_function(_specs(subject, free))
    except Exception:
        return False
    finally:
        subject.gradients.state.restore()
    return True


def _traced(subject: Subject, operation: Operation, free: list[int]) -> Any:
    sources, variables = subject.sources, subject.gradients.variables

    def value_and_gradient(tensors: Any, weights: Any) -> Any:
        with GradientTape() as tape:
            watched = [tensors[i] for i in sources]
            tape.watch(watched)
            outputs = operation(tensors)
        ups = [tf.reshape(w, tf.shape(o)) for w, o in zip(weights, floating(outputs), strict=True)]
        return outputs, pull_back(tape, outputs, [*watched, *variables], ups)

    weights = [tf.TensorSpec([None], slot.dtype) for slot in subject.layout.outputs.slots]
    subject.probe.clear()
    subject.gradients.state.restore()
    return function(value_and_gradient, input_signature=[_specs(subject, free), weights])


def _eager(subject: Subject, point: Sequence[Any]) -> tuple[Sequence[Any], list[Any]]:
    """Return the gradients at a point and by what was pulled, in one dimension."""
    pulled = pull(subject, subject.operation, point, subject.gradients.state)
    gradients, outputs = pulled.gradients, [tf.TensorSpec(o.shape, o.dtype) for o in pulled.outputs]
    # Of large outputs not all that was needed once is kept.
    del pulled
    return gradients, [tf.reshape(u, [-1]) for u in upstream_of(subject, outputs)]


def _is_noise(subject: Subject, point: Sequence[Any], wanted: Sequence[Any], got: Sequence[Any]) -> bool:
    """Return whether eager moves as far when the inputs move by their last digit."""
    noise = [0.0 if a is None else np.zeros(np.shape(a)) for a in wanted]
    for number in range(DRAWS):
        near = last_digit_moved(subject, point, number)
        moved = pull(subject, subject.operation, near, subject.gradients.state).gradients
        noise = [n if a is None or b is None else np.fmax(n, _gap(a, b))
                 for n, a, b in zip(noise, wanted, moved, strict=True)]  # fmt: skip
    pairs = zip(wanted, got, noise, strict=True)
    return all(
        (a is None) == (b is None) and np.shape(a) == np.shape(b) and bool(np.all(_gap(a, b) <= NOISY * n))
        for a, b, n in pairs
        if a is not None or b is not None
    )


def _gap(a: Any, b: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.abs(np.asarray(a).astype(np.complex128) - np.asarray(b).astype(np.complex128))


def _call(subject: Subject, traced: Any, point: Sequence[Any], weights: Sequence[Any]) -> list[Any]:
    subject.gradients.state.restore()
    _, gradients = traced([as_tensor(v) for v in point], weights)
    return [to_array(g) for g in gradients]


def _loose(subject: Subject, found: Sequence[Finding]) -> float:
    """Return the relative difference that rounding may make: what the own dtype was seen to lose, if it was."""
    loose = 5e-2 if subject.rounds_to_half else 1e-3
    if subject.eager is None or not any(f.code == "precision-loss" for f in found):
        return loose
    exact = main_gradient(subject)
    lost = np.abs(own_gradient(subject, subject.eager) - exact)
    size = np.abs(exact) + 1e-3 * np.abs(exact).max(initial=0.0)
    return max(loose, 4 * float(np.nanmax(lost / size, initial=0.0)))


def _agree(wanted: Sequence[Any], got: Sequence[Any], loose: float) -> bool:
    floor = 1e-2 * max((largest(a) for a in wanted if a is not None), default=0.0)
    for a, b in zip(wanted, got, strict=True):
        if (a is None) != (b is None):
            return False
        if a is None:
            continue
        if np.shape(a) != np.shape(b):
            return False
        if np.array_equal(a, b):
            continue
        scale = largest(a, among=np.isfinite(b))
        if not close(b, a, loose, loose * (scale + floor), finite_only=True):
            return False
    return True
