# SPDX-License-Identifier: Apache-2.0
"""The op traced with unknown dimensions and called with two sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck.backend.tensorflow.failures import finding_from
from gradcheck.backend.tensorflow.faults import own_fault, refused
from gradcheck.backend.tensorflow.unknown_rows import trace_for_any_rows, traced_for_any_rows
from gradcheck.checks.check import FIXED, OUTPUTS, TENSORS, Check, Item, Need
from gradcheck.diagnose.finding import seen_in, softened
from gradcheck.measure.lab import Lab
from gradcheck.measure.noise import last_digit_moved, own_gradient
from gradcheck.measure.pulled import pull, upstream_of
from gradcheck.numerics.arrays import AnyArray, Arrays
from gradcheck.numerics.closeness import close, largest
from gradcheck.results import Finding, Skipped
from gradcheck.verdict.tolerances import (
    HALF_UNKNOWN_RTOL,
    NOISE_DRAWS,
    NOISY,
    SMALLEST,
    UNKNOWN_FLOOR,
    UNKNOWN_LOSS,
    UNKNOWN_RTOL,
)
from gradcheck.ways import FUNCTION, INSIDE

FAILED = frozenset(
    {
        "mode-mismatch",
        "value-mismatch",
        "mode-unsupported",
        "gradient-shape",
        "gradient-count",
        "gradient-dtype",
        "stale-state",
        "variables-order",
        "nondeterministic",
    }
)


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Trace once with unknown leading dimensions, call with two sizes, compare with eager."""
    case = lab.case
    grown = _grown(lab) or (_unknown_alone(lab) if case.dynamic_shapes else None)
    if grown is None:
        yield Skipped(CHECK.name, "no input may have another number of rows")
        return
    free, points = grown
    finding = _compared(lab, free, points, _loose(lab, found))
    if finding is not None and finding.traceback is not None:
        # What raises only once has nothing to do with sizes: the log of calls says so at the end.
        finding = _compared(lab, free, points, _loose(lab, found))
    if finding is None:
        return
    if not case.dynamic_shapes and finding.traceback is not None:
        # An op that refuses an unknown size says so itself; what it gives is not wrong.
        finding = softened(finding)
    if not case.dynamic_shapes and not _plain_traces(lab, free):
        # A forward that needs its sizes when it is traced says nothing of its gradient.
        finding = softened(replace(finding, message=f"the forward itself {finding.message}"))
    yield finding


ASKED = Need(lambda lab: lab.case.dynamic_shapes is not False, "the case says `dynamic_shapes: false`")
TRACED = Need(lambda lab: FUNCTION in lab.case.modes, "mode `function` is left out")

CHECK = Check(
    "unknown sizes", "dynamic_shapes", ask, needs=(ASKED, TRACED, FIXED, TENSORS, OUTPUTS), pointless_after=FAILED
)


def _compared(lab: Lab, free: list[int], points: Sequence[list[Any]], loose: float) -> Finding | None:
    """Return the finding for a gradient that is traced once and differs from eager at a point, None if none does."""
    try:
        lab.recorder.clear()
        dtypes = [slot.dtype for slot in lab.layout.outputs.slots]
        traced = traced_for_any_rows(lab.gradients, lab.values, free, dtypes)
        for point in points:
            wanted, weights = _eager(lab, point)
            got = traced(point, weights)
            if not _agree(wanted, got, loose) and not _is_noise(lab, point, wanted, got):
                return _finding("the gradient of a function traced with unknown dimensions differs from eager", None)
    except Exception as error:
        if own_fault(error):
            raise
        if not lab.custom and not lab.case.dynamic_shapes:
            # No gradient of the user's is involved: TensorFlow's own ops need the shape.
            return None
        cause = lab.recorder.gradient_failure or error
        failure = finding_from(cause, "dynamic-shape", lab.recorder)
        return _finding(f"fails when traced with unknown dimensions: {failure.message}", failure)
    return None


def _finding(message: str, failure: Finding | None) -> Finding:
    finding = Finding(
        "dynamic-shape",
        message,
        hint="use tf.shape(x) instead of x.shape where a dimension may be unknown",
        traceback=failure.traceback if failure else None,
        file=failure.file if failure else None,
        line=failure.line if failure else None,
    )
    return seen_in(INSIDE, finding)


def _grown(lab: Lab) -> tuple[list[int], list[list[Any]]] | None:
    """Return which leaves may grow along their first axis, and the sample with values of one more row."""
    found = lab.one_row_more
    if found is None:
        return None
    values, _ = found
    free = [i for i, (a, b) in enumerate(zip(values, lab.values, strict=True)) if a is not b]
    return free, [list(lab.values), values]


def _unknown_alone(lab: Lab) -> tuple[list[int], list[list[Any]]] | None:
    """Return the leaves that have a first axis, and the sample: an op made for one size can be traced without it."""
    free = [i for i, value in enumerate(lab.values) if np.ndim(value)]
    return (free, [list(lab.values)]) if free else None


def _plain_traces(lab: Lab, free: list[int]) -> bool:
    """Return whether the bare forward can be traced with unknown dimensions and differentiated."""
    lab.gradients.state.restore()
    traced = refused(lambda: trace_for_any_rows(lab.plain(), lab.values, free))
    lab.gradients.state.restore()
    return traced is not None


def _eager(lab: Lab, point: Arrays) -> tuple[Sequence[Any], list[Any]]:
    """Return the gradients at a point and the upstreams they were taken with."""
    pulled = pull(lab, lab.operation, point, lab.gradients.state)
    gradients, shapes = pulled.gradients, [(o.shape, o.dtype) for o in pulled.outputs]
    # Of large outputs not all that was needed once is kept.
    del pulled
    return gradients, upstream_of(lab, shapes)


def _is_noise(lab: Lab, point: Arrays, wanted: Arrays, got: Arrays) -> bool:
    """Return whether eager moves as far when the inputs move by their last digit."""
    noise = [0.0 if a is None else np.zeros(np.shape(a)) for a in wanted]
    for number in range(NOISE_DRAWS):
        near = last_digit_moved(lab, point, number)
        moved = pull(lab, lab.operation, near, lab.gradients.state).gradients
        noise = [n if a is None or b is None else np.fmax(n, _gap(a, b))
                 for n, a, b in zip(noise, wanted, moved, strict=True)]  # fmt: skip
    pairs = zip(wanted, got, noise, strict=True)
    return all(
        (a is None) == (b is None) and np.shape(a) == np.shape(b) and bool(np.all(_gap(a, b) <= NOISY * n))
        for a, b, n in pairs
        if a is not None or b is not None
    )


def _gap(a: AnyArray, b: AnyArray) -> Any:
    with np.errstate(all="ignore"):
        return np.abs(np.asarray(a).astype(np.complex128) - np.asarray(b).astype(np.complex128))


def _loose(lab: Lab, found: Sequence[Finding]) -> float:
    """Return the relative difference that rounding may make: what the own dtype was seen to lose, if it was."""
    loose = HALF_UNKNOWN_RTOL if lab.rounds_to_half else UNKNOWN_RTOL
    if not any(f.code == "precision-loss" for f in found):
        return loose
    exact = lab.gradient
    lost = np.abs(own_gradient(lab, lab.first) - exact)
    size = np.abs(exact) + SMALLEST * np.abs(exact).max(initial=0.0)
    return max(loose, UNKNOWN_LOSS * float(np.nanmax(lost / size, initial=0.0)))


def _agree(wanted: Arrays, got: Arrays, loose: float) -> bool:
    floor = UNKNOWN_FLOOR * max((largest(a) for a in wanted if a is not None), default=0.0)
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
