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
import tensorflow as tf

from gradcheck.autodiff.failures import Stopped, finding_from
from gradcheck.autodiff.inputs import Leaf
from gradcheck.autodiff.modes import pull_back, to_array
from gradcheck.autodiff.operation import Operation, State, differentiable, floating
from gradcheck.autodiff.subject import Subject, prepare
from gradcheck.autodiff.tracing import GradientTape
from gradcheck.checks import formula
from gradcheck.numerics.closeness import close, largest, wide
from gradcheck.numerics.directions import signed_uniform
from gradcheck.numerics.parts import parts_of
from gradcheck.numerics.tolerance import ROUNDOFF
from gradcheck.results import Comparison, Finding

PHASE = "elsewhere"
ONE_ROW_MORE = "one row more"
MOST_AXES = 4
WIDEST = 100_000
RTOL, HALF_RTOL = 1e-3, 5e-2
KEPT = ("gradient-mismatch", "gradient-nonfinite", "gradient-missing")
STOPPING = ("gradient-mismatch", "gradient-nonfinite", "gradient-shape", "gradient-missing", "gradient-dtype",
            "nondeterministic", "upstream-nonlinear", "stale-state", "state-changed", "variables-order",
            "mode-mismatch")  # fmt: skip


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
    wanted: _Pulled | None = None


def check(subject: Subject, found: Sequence[Finding]) -> Iterator[Finding | Comparison]:
    """Hold the gradient against autodiff at other variables and sizes."""
    case = subject.case
    if any(f.code in STOPPING for f in found) or not subject.custom or subject.gradients.seed is not None:
        return
    if case.expected_vjp or not subject.layout.outputs.width or not subject.slots:
        return
    plain = _bare(subject)
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
    for find in (one_row_more, lambda subject: _one_row(subject, plain)):
        found = find(subject)
        # Nobody asks for the further row again, and of a large input few gradients fit beside each other.
        subject.cache.pop(ONE_ROW_MORE, None)
        if found is not None:
            values, wanted = found
            rows = next(len(a) for a, b in zip(values, subject.values, strict=True) if a is not b)
            yield Place(f"with {rows} row{'s' * (rows != 1)}", tuple(values), state, resized=True, wanted=wanted)
        del found
    for axis in range(1, MOST_AXES):
        found = _twice_along(subject, plain, axis)
        if found is not None:
            said = f"with axis {axis} of twice the size"
            yield Place(said, tuple(found[0]), state, resized=True, asked=False, wanted=found[1])


def _twice_along(subject: Subject, plain: Operation, axis: int) -> tuple[list[Any], _Pulled] | None:
    """Return leaves of twice the size along an axis, None if the bare forward does not take or use them.

    Twice, because halves, heads and windows divide it too.
    """
    lead = next((i for i in subject.sources if np.ndim(subject.values[i]) > axis), None)
    if lead is None or subject.values[lead].shape[axis] < 2 or subject.layout.inputs.width > WIDEST:
        return None
    size, back = subject.values[lead].shape[axis], axis - np.ndim(subject.values[lead])
    if size in _numbers([subject.case.build or {}, subject.case.arguments]):
        return None
    dense = [i for i, leaf in enumerate(subject.leaves)
             if leaf.indices is None and leaf.row_lengths is None and leaf.structure is None]  # fmt: skip
    same = [i for i in dense if np.ndim(subject.values[i]) >= -back and subject.values[i].shape[back] == size]
    if lead not in dense:
        return None
    for chosen in dict.fromkeys((tuple(same), (lead,))):
        values = list(subject.values)
        for i in chosen:
            values[i] = np.concatenate([values[i], _like(values[i], subject.leaves[i], back)], axis=back)
        pulled = _pulled(subject, plain, values, subject.gradients.state)
        if pulled is not None and all(_reaches(pulled, subject, i, back, size) for i in chosen):
            return values, pulled
    return None


def _tied(subject: Subject) -> list[Any] | None:
    """Return leaves with two largest and two smallest numbers in each row, and half of one in another of its shape.

    None if that changes nothing.
    """
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


def one_row_more(subject: Subject) -> tuple[list[Any], _Pulled] | None:
    """Return leaves with one row more and what the bare forward gives, None if it takes or uses no further row."""
    return subject.once(ONE_ROW_MORE, lambda: _one_row_more(subject, _bare(subject)))  # type: ignore[no-any-return]


def _bare(subject: Subject) -> Operation:
    other = subject.case.surrogate or subject.case.reference
    return subject.plain() if other is None else subject.function(other)


def _one_row_more(subject: Subject, plain: Operation) -> tuple[list[Any], _Pulled] | None:
    for chosen in _alike(subject):
        values = list(subject.values)
        for i in chosen:
            values[i] = _with_row(values[i], subject.leaves[i])
        pulled = _pulled(subject, plain, values, subject.gradients.state)
        if pulled is not None and all(_reaches(pulled, subject, i, 0, len(subject.values[i])) for i in chosen):
            return values, pulled
    return None


def _one_row(subject: Subject, plain: Operation) -> tuple[list[Any], _Pulled] | None:
    """Return the first row of the leaves, None if the op does not treat rows one by one.

    A single row broadcasts, so that a call may pass which makes no sense; where the outputs
    are those of the first row of all, it does make sense.
    """
    state = subject.gradients.state
    whole = _pulled(subject, plain, subject.values, state)
    for chosen in _alike(subject):
        values = list(subject.values)
        if len(values[chosen[0]]) < 2:
            return None
        for i in chosen:
            values[i] = values[i][:1]
        one = _pulled(subject, plain, values, state)
        if one is None or whole is None:
            continue
        pairs = list(zip(one.outputs, whole.outputs, strict=True))
        if pairs and all(np.ndim(b) and a.shape == b[:1].shape and _near(a, b[:1]) for a, b in pairs):
            return values, one
    return None


def _near(a: Any, b: Any) -> bool:
    return close(a, b, 1e-2, 1e-3 * largest(b))


def _alike(subject: Subject) -> list[tuple[int, ...]]:
    """Return groups of leaves whose first axis may be the batch: all of its size, or those of the highest rank."""
    lead = next((np.shape(v)[0] for v, leaf in zip(subject.values, subject.leaves, strict=True)
                 if np.ndim(v) and leaf.differentiated), None)  # fmt: skip
    dense = [i for i, leaf in enumerate(subject.leaves)
             if leaf.indices is None and leaf.row_lengths is None and leaf.structure is None]  # fmt: skip
    same = [i for i in dense if np.ndim(subject.values[i]) and np.shape(subject.values[i])[0] == lead]
    if lead == 1 and len(same) > 1:
        # One row may be a batch of one, or something that broadcasts along it.
        return []
    rank = max((np.ndim(subject.values[i]) for i in same), default=0)
    groups = dict.fromkeys((tuple(same), tuple(i for i in same if np.ndim(subject.values[i]) == rank)))
    return [g for g in groups if any(subject.leaves[i].differentiated for i in g)]


def _with_row(value: Any, leaf: Leaf) -> Any:
    if not len(value):
        return np.zeros((1, *value.shape[1:]), value.dtype)
    return np.concatenate([value, _like(value, leaf, 0)[:1]])


def _like(value: Any, leaf: Leaf, axis: int) -> Any:
    """Return values near those at hand that are none of them: equal rows hide what mixes them up."""
    if not leaf.differentiated or value.dtype.kind not in "fcV":
        return value
    old = wide(value)
    if value.shape[axis] > 1:
        # Between two that are there, so that no domain is left and no tie is made.
        return (0.625 * old + 0.375 * np.roll(old, -1, axis)).astype(value.dtype)
    low, high = leaf.domain or (-np.inf, np.inf)
    return (0.8 * old if low <= 0 <= high else np.clip(1.1 * old, low, high)).astype(value.dtype)


def _numbers(given: Any) -> set[int]:
    """Return the numbers in arguments: an op that was told a size may rely on it."""
    return {int(item) for item in tf.nest.flatten(given) if isinstance(item, int | float) and float(item).is_integer()}


def _reaches(pulled: _Pulled, subject: Subject, leaf: int, axis: int, start: int) -> bool:
    """Return whether what is new along an axis matters to the outputs; boxes of four numbers ignore a fifth."""
    if leaf not in subject.sources:
        return True
    gradient = pulled.gradients[subject.sources.index(leaf)]
    if gradient is None:
        return False
    new = np.moveaxis(wide(gradient), axis, 0)[start:]
    return bool(all(np.any(part != 0) for part in new))


@dataclass(frozen=True, slots=True)
class _Pulled:
    """Hold outputs and gradients at a place."""

    outputs: tuple[Any, ...]
    gradients: tuple[Any, ...]

    @property
    def shapes(self) -> list[Any]:
        """Return the shapes of the outputs."""
        return [o.shape for o in self.outputs]

    @property
    def output_size(self) -> float:
        """Return the size of what is added up to one number and differentiated."""
        flat = [np.ravel(o) for o in self.outputs]
        return float(sum(np.abs(wide(o[part])).sum() for o in flat for part in parts_of(o.size)))


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
    results = floating(outputs)
    rng = subject.rng("elsewhere")
    ups = [tf.cast(tf.reshape(signed_uniform(rng, int(tf.size(o))), tf.shape(o)), o.dtype) for o in results]
    found = pull_back(tape, outputs, [*watched, *subject.gradients.variables], ups)
    return _Pulled(tuple(to_array(o) for o in results), tuple(to_array(g) for g in found))


def _at(subject: Subject, plain: Operation, place: Place) -> Finding | None:
    wanted = place.wanted or _pulled(subject, plain, place.values, place.state)
    if wanted is None or not all(g is None or np.isfinite(wide(g)).all() for g in wanted.gradients):
        return None
    try:
        got = _pull(subject, subject.operation, place.values, place.state)
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


def _agree(subject: Subject, place: Place, wanted: _Pulled, got: _Pulled) -> bool:
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
