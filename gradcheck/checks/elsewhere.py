"""The op where the sample does not reach: other values of its variables, ties, other numbers of rows.

A layer starts with weights of one and biases of zero, which hide factors and terms; a batch of
four hides what is right for four rows only.  The gradient is held against autodiff there, which
is cheap; only where they disagree is the whole comparison made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradcheck.autodiff.failures import Stopped, finding_from
from gradcheck.autodiff.operation import Operation, State, differentiable
from gradcheck.autodiff.subject import Subject, prepare
from gradcheck.checks import formula
from gradcheck.checks.far import STOPPING
from gradcheck.checks.sizes import (
    ONE_ROW_MORE,
    WIDEST,
    Pulled,
    bare,
    one_row,
    one_row_more,
    pull,
    pulled_at,
    twice_along,
)
from gradcheck.numerics.closeness import close, largest, wide
from gradcheck.numerics.tolerance import ROUNDOFF
from gradcheck.results import Comparison, Finding

PHASE = "elsewhere"
MOST_AXES = 4
RTOL, HALF_RTOL = 1e-3, 5e-2
KEPT = ("gradient-mismatch", "gradient-nonfinite", "gradient-missing")


@dataclass(frozen=True, slots=True)
class Place:
    """Hold values of the leaves and of the variables, and how to say where that is.

    `asked` is false for sizes that nobody said the op must take; `wanted` is what the bare forward
    gives there, if that is known already.
    """

    said: str
    values: tuple[Any, ...]
    state: State
    resized: bool
    asked: bool = True
    wanted: Pulled | None = None


def check(subject: Subject, found: Sequence[Finding]) -> Iterator[Finding | Comparison]:
    """Hold the gradient against autodiff at other variables and sizes."""
    case = subject.case
    if any(f.code in STOPPING for f in found) or not subject.custom or subject.gradients.seed is not None:
        return
    if case.expected_vjp or not subject.layout.outputs.width or not subject.slots:
        return
    plain = bare(subject)
    known = any(f.code == "dynamic-shape" for f in found)
    try:
        for place in _places(subject, plain):
            if known and place.resized:
                return
            finding = _at(subject, plain, place)
            if finding is not None:
                yield finding if place.asked else _unasked(finding)
                return
    finally:
        subject.gradients.state.restore()


def _places(subject: Subject, plain: Operation) -> Iterator[Place]:
    state = subject.gradients.state
    moved = _moved_variables(subject)
    if moved is not None:
        yield Place("at other values of the variables", subject.values, moved, resized=False)
    tied = _tied(subject)
    if tied is not None:
        yield Place("where values tie", tuple(tied), state, resized=False)
    if subject.case.dynamic_shapes is False:
        return
    for find in (one_row_more, lambda subject: one_row(subject, plain)):
        found = find(subject)
        # Nobody asks for the further row again, and of a large input few gradients fit beside each other.
        subject.cache.pop(ONE_ROW_MORE, None)
        if found is not None:
            values, wanted = found
            rows = next(len(a) for a, b in zip(values, subject.values, strict=True) if a is not b)
            yield Place(f"with {rows} row{'s' * (rows != 1)}", tuple(values), state, resized=True, wanted=wanted)
        del found
    for axis in range(1, MOST_AXES):
        found = twice_along(subject, plain, axis)
        if found is not None:
            said = f"with axis {axis} of twice the size"
            yield Place(said, tuple(found[0]), state, resized=True, asked=False, wanted=found[1])


def _tied(subject: Subject) -> list[Any] | None:
    """Return leaves with two largest and two smallest numbers in each row, and half of one in another of its shape.

    None if that changes nothing, or the input is long.
    """
    if subject.layout.inputs.width > WIDEST:
        return None
    values, first = list(subject.values), None
    for i in subject.sources:
        leaf, value = subject.leaves[i], subject.values[i]
        if leaf.structure is not None or value.dtype.kind not in "fV" or value.size < 2:
            continue
        value = np.array(value)
        if np.ndim(value) and value.shape[-1] > 1:
            rows = value.reshape(-1, value.shape[-1])
            order = np.argsort(wide(rows), axis=-1)
            every = np.arange(len(rows))
            for one, other in ((-2, -1), (1, 0)) if rows.shape[-1] > 3 else ((-2, -1),):
                rows[every, order[:, one]] = rows[every, order[:, other]]
        if first is not None and value.shape == first.shape and value.dtype == first.dtype and leaf.domain is None:
            value.flat[: value.size // 2] = first.flat[: value.size // 2]
        first = value if first is None else first
        values[i] = value
    return values if any(a is not b for a, b in zip(values, subject.values, strict=True)) else None


def _unasked(finding: Finding) -> Finding:
    """Return a warning: an op may be made for one size of an axis, but then it should refuse another."""
    return replace(
        finding,
        code="dynamic-shape",
        cause=None,
        level="warning",
        hint="a size is written down in grad_fn: take it from the tensors, or refuse other sizes in the forward",
    )


def _moved_variables(subject: Subject) -> State | None:
    """Return the state with every floating variable at a general value near its own."""
    state = subject.gradients.state
    movable = [differentiable(v) for v in state.variables]
    if not any(movable):
        return None
    rng = subject.rng("variables")
    moved = [
        _moved(value, rng, v.trainable) if f else value
        for v, value, f in zip(state.variables, state.values, movable, strict=True)
    ]
    return State(state.variables, tuple(moved))


def _moved(value: Any, rng: np.random.Generator, trainable: bool) -> Any:
    """Scale what is not zero, so that its sign and size stay; give a small value to what is zero."""
    factor = rng.uniform(0.6, 1.7, value.shape)
    # Running averages start at zero; steps and counters do too, and those must stay whole.
    start = 0.3 * rng.normal(size=value.shape) if trainable or value.size > 1 else np.zeros(value.shape)
    old = wide(value)
    return np.where(old == 0, start, old * factor).astype(value.dtype)


def _at(subject: Subject, plain: Operation, place: Place) -> Finding | None:
    wanted = place.wanted or pulled_at(subject, plain, place.values, place.state)
    if wanted is None or not all(g is None or np.isfinite(wide(g)).all() for g in wanted.gradients):
        return None
    try:
        got = pull(subject, subject.operation, place.values, place.state)
    except Exception as error:
        if not place.resized or not place.asked:
            return None
        told = finding_from(subject.probe.gradient_failure or error, "dynamic-shape", subject.probe)
        hint = "take sizes from the tensors: tf.shape(x), not numbers of one batch"
        return replace(told, code="dynamic-shape", cause=None, message=f"fails {place.said}: {told.message}", hint=hint)
    if got.shapes != wanted.shapes:
        return None
    for slot, a, b in zip(subject.slots, wanted.gradients, got.gradients, strict=True):
        if a is not None and b is not None and a.shape != b.shape:
            if not place.asked:
                return None
            message = f"the gradient of `{slot.name}` has shape {list(b.shape)} {place.said}, not {list(a.shape)}"
            hint = "take sizes from the tensors: tf.shape(x), not numbers of one batch"
            return Finding("gradient-shape", message, hint=hint, wrt=slot.name, mode="eager", dtype=subject.dtype)
    return None if _agree(subject, place, wanted, got) else _confirmed(subject, place)


def _agree(subject: Subject, place: Place, wanted: Pulled, got: Pulled) -> bool:
    rtol = HALF_RTOL if subject.rounds_to_half else RTOL
    points = [*(place.values[i] for i in subject.sources), *(v.numpy() for v in subject.gradients.variables)]
    unit = ROUNDOFF.get(subject.coarsest, 2.0**-24)
    for value, a, b in zip(points, wanted.gradients, got.gradients, strict=True):
        if b is None or a is None:
            continue
        typical = float(np.median(np.abs(wide(value)))) or 1.0 if value.size else 1.0
        # What rounding leaves of terms that cancel.
        noise = 64 * unit * wanted.output_size / typical
        if not close(b, a, rtol, rtol * 1e-2 * largest(a) + noise):
            return False
    return True


def _confirmed(subject: Subject, place: Place) -> Finding | None:
    """Return what the whole comparison says at a place, None if it does not blame the op there."""
    place.state.restore()
    try:
        there = prepare(subject.loaded, subject.asked, 0, subject.devices, values=place.values)
        there.eager = there.run(there.ways[0])
        there.cache["show"] = subject.cache.get("show", 10)
        items = list(formula.check(there, []))
    except Stopped as stop:
        items = [stop.finding] if place.resized else []
    except Exception:
        return None
    for item in items:
        if isinstance(item, Finding) and item.level == "error" and item.code in (*KEPT, "gradient-shape"):
            return replace(item, message=f"{item.message} Seen {place.said}; right at the sample.")
    return None
