"""The op where the sample does not reach: other values of its variables, other numbers of rows.

A layer starts with weights of one and biases of zero, which hide factors and terms; a batch of
four hides what is right for four rows only.  The gradient is held against autodiff there, which
is cheap; only where they disagree is the whole comparison made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.autodiff.failures import Stopped, finding_from
from gradcheck.autodiff.modes import pull_back, to_array
from gradcheck.autodiff.operation import Operation, State, differentiable
from gradcheck.autodiff.subject import Subject, prepare
from gradcheck.autodiff.tracing import GradientTape
from gradcheck.checks import formula
from gradcheck.numerics.directions import signed_uniform
from gradcheck.results import Comparison, Finding

PHASE = "elsewhere"
RTOL, HALF_RTOL = 1e-3, 5e-2
KEPT = ("gradient-mismatch", "gradient-nonfinite", "gradient-missing")
STOPPING = ("gradient-mismatch", "gradient-nonfinite", "gradient-shape", "gradient-missing", "gradient-dtype",
            "nondeterministic", "upstream-nonlinear", "stale-state", "state-changed", "variables-order")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Hold values of the leaves and of the variables, and how to say where that is."""

    said: str
    values: tuple[Any, ...]
    state: State
    resized: bool


def check(subject: Subject, found: Sequence[Finding]) -> Iterator[Finding | Comparison]:
    """Hold the gradient against autodiff at other variables and sizes."""
    case = subject.case
    if any(f.code in STOPPING for f in found) or not subject.custom or subject.gradients.seed is not None:
        return
    if case.expected_vjp or not subject.layout.outputs.width or not subject.slots:
        return
    other = case.surrogate or case.reference
    plain = subject.plain() if other is None else subject.function(other)
    try:
        for place in _places(subject, plain):
            finding = _at(subject, plain, place)
            if finding is not None:
                yield finding
                return
    finally:
        subject.gradients.state.restore()


def _places(subject: Subject, plain: Operation) -> Iterator[Place]:
    state = subject.gradients.state
    moved = _moved_variables(subject)
    if moved is not None:
        yield Place("at other values of the variables", subject.values, moved, resized=False)
    if subject.case.dynamic_shapes is False:
        return
    for axis, more in ((0, True), (0, False), (-1, True)):
        values = resized(subject, plain, axis, more)
        if values is not None:
            lead = next(np.shape(a)[axis] for a, b in zip(values, subject.values, strict=True) if a is not b)
            what = ("row" if axis == 0 else "column") + "s" * (lead != 1)
            yield Place(f"with {lead} {what}", tuple(values), state, resized=True)


def _moved_variables(subject: Subject) -> State | None:
    """Return the state with every floating variable at a general value near its own."""
    state = subject.gradients.state
    floating = [differentiable(v) for v in state.variables]
    if not any(floating):
        return None
    rng = subject.rng("variables")
    moved = [
        _moved(value, rng, v.trainable) if f else value
        for v, value, f in zip(state.variables, state.values, floating, strict=True)
    ]
    return State(state.variables, tuple(moved))


def _moved(value: Any, rng: np.random.Generator, trainable: bool) -> Any:
    """Scale what is not zero, so that its sign and size stay; give a small value to what is zero."""
    factor = rng.uniform(0.6, 1.7, value.shape)
    # Running averages start at zero; steps and counters do too, and those must stay whole.
    start = 0.3 * rng.normal(size=value.shape) if trainable or value.size > 1 else np.zeros(value.shape)
    wide = value.astype(np.complex128 if value.dtype.kind == "c" else np.float64)
    return np.where(wide == 0, start, wide * factor).astype(value.dtype)


def resized(subject: Subject, plain: Operation, axis: int, more: bool) -> list[Any] | None:
    """Return leaves of another size along an axis that the bare forward takes, None if it takes none."""
    sizes = [np.shape(v)[axis] for v, leaf in zip(subject.values, subject.leaves, strict=True)
             if np.ndim(v) > -min(axis, 0) - 1 and np.ndim(v) and leaf.differentiated]  # fmt: skip
    if not sizes or (not more and sizes[0] <= 1):
        return None
    dense = [i for i, leaf in enumerate(subject.leaves)
             if leaf.indices is None and leaf.row_lengths is None and leaf.structure is None]  # fmt: skip
    same = [i for i in dense if np.ndim(subject.values[i]) and np.shape(subject.values[i])[axis] == sizes[0]]
    rank = max((np.ndim(subject.values[i]) for i in same), default=0)
    for chosen in dict.fromkeys((tuple(i for i in same if np.ndim(subject.values[i]) == rank), tuple(same))):
        if not chosen or not any(subject.leaves[i].differentiated for i in chosen):
            continue
        values = list(subject.values)
        for i in chosen:
            values[i] = _resized(values[i], axis, more)
        if _pulled(subject, plain, values, subject.gradients.state) is not None:
            return values
    return None


def _resized(value: Any, axis: int, more: bool) -> Any:
    first = np.take(value, [0], axis=axis) if value.shape[axis] else np.zeros_like(value)
    if not more:
        return first
    if value.dtype.kind in "fcV" and value.shape[axis] > 1:
        # Between two that are there, so that no domain is left and no tie is made.
        second = np.take(value, [1], axis=axis)
        first = (0.625 * first.astype(_wide(first)) + 0.375 * second.astype(_wide(second))).astype(value.dtype)
    return np.concatenate([value, first], axis=axis)


def _wide(value: Any) -> Any:
    return np.complex128 if value.dtype.kind == "c" else np.float64


@dataclass(frozen=True, slots=True)
class _Pulled:
    """Hold gradients at a place, and the shapes of the outputs there."""

    shapes: tuple[Any, ...]
    gradients: tuple[Any, ...]


def _pulled(subject: Subject, operation: Operation, values: Sequence[Any], state: State) -> _Pulled | None:
    try:
        return _pull(subject, operation, values, state)
    except Exception:
        return None


def _pull(subject: Subject, operation: Operation, values: Sequence[Any], state: State) -> _Pulled:
    state.restore()
    tensors = [tf.constant(v) for v in values]
    with GradientTape() as tape:
        watched = [tensors[i] for i in subject.sources]
        tape.watch(watched)
        outputs = operation(tensors)
    floating = [o for o in outputs if differentiable(o)]
    rng = subject.rng("elsewhere")
    ups = [tf.cast(tf.reshape(signed_uniform(rng, int(tf.size(o))), tf.shape(o)), o.dtype) for o in floating]
    found = pull_back(tape, outputs, [*watched, *subject.gradients.variables], ups)
    return _Pulled(tuple(tuple(o.shape) for o in floating), tuple(to_array(g) for g in found))


def _at(subject: Subject, plain: Operation, place: Place) -> Finding | None:
    wanted = _pulled(subject, plain, place.values, place.state)
    if wanted is None or not all(g is None or np.isfinite(g.astype(_wide(g))).all() for g in wanted.gradients):
        return None
    try:
        got = _pull(subject, subject.operation, place.values, place.state)
    except Exception as error:
        if not place.resized:
            return None
        told = finding_from(subject.probe.gradient_failure or error, "dynamic-shape", subject.probe)
        hint = "take sizes from the tensors: tf.shape(x), not numbers of one batch"
        return replace(told, code="dynamic-shape", cause=None, message=f"fails {place.said}: {told.message}", hint=hint)
    if got.shapes != wanted.shapes or _agree(subject, wanted.gradients, got.gradients):
        return None
    return _confirmed(subject, place)


def _agree(subject: Subject, wanted: Sequence[Any], got: Sequence[Any]) -> bool:
    rtol = HALF_RTOL if subject.coarsest in ("float16", "bfloat16") else RTOL
    for a, b in zip(wanted, got, strict=True):
        if b is None or a is None:
            continue
        if np.shape(a) != np.shape(b):
            return False
        x, y = a.astype(_wide(a)), b.astype(_wide(b))
        size = np.abs(x)
        if not np.all(np.abs(x - y) <= rtol * (size + 1e-2 * size.max(initial=0.0))):
            return False
    return True


def _confirmed(subject: Subject, place: Place) -> Finding | None:
    """Return what the whole comparison says at a place, None if it does not blame the op there."""
    place.state.restore()
    try:
        there = prepare(subject.loaded, None, 0, subject.devices, values=place.values)
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
