"""The op where the sample does not reach: other values of its variables, ties, other numbers of rows.

A layer starts with weights of one and biases of zero, which hide factors and terms; a batch of
four hides what is right for four rows only.  The gradient is held against autodiff there, which
is cheap; only where they disagree is the whole comparison made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from gradcheck.autodiff.failures import Stopped, finding_from
from gradcheck.autodiff.operation import Operation, State, differentiable
from gradcheck.autodiff.subject import Subject, prepare
from gradcheck.checks import formula
from gradcheck.checks.far import STOPPING
from gradcheck.checks.points import another_point_of_like_signs
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
from gradcheck.results import Comparison, Finding, blamed

PHASE = "elsewhere"
MOST_AXES = 4
# How large biases get (a little, or enough to turn the sign of what they are added to), and whether inputs move
# too: masks and branches look at both together.
MOVES = ((0.3, False), (1.0, False), (1.0, True))
# Numbers that an input holds where it is to tie, and draws that show what integers may come, with those tried.
LEVELS, INTEGER_DRAWS, REDRAWN = 3, 8, 4
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
    if blamed(found, STOPPING) or not subject.custom or subject.gradients.seed is not None:
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
    yield from _at_other_variables(subject)
    for integers in _other_integers(subject):
        yield Place("at other integers", tuple(integers), state, resized=False)
    for tied in (_tied(subject), _coarse(subject)):
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


def _other_integers(subject: Subject) -> Iterator[list[Any]]:
    """Yield leaves with integers drawn anew, several times, then with only the least and the largest of them."""
    if not any(value.dtype.kind in "iub" for value in subject.values):
        return
    draws = [leaves for number in range(INTEGER_DRAWS) if (leaves := subject.drawn_anew(number)) is not None]
    found = [
        i
        for i, value in enumerate(subject.values)
        if value.dtype.kind in "iub" and any(not np.array_equal(leaves[i].values, value) for leaves in draws)
    ]
    if not found:
        return
    seen = {_bytes_of(subject.values, found)}
    for leaves in draws:
        again = [leaves[i].values if i in found else value for i, value in enumerate(subject.values)]
        if len(seen) <= REDRAWN and _bytes_of(again, found) not in seen:
            seen.add(_bytes_of(again, found))
            yield again
    rng, repeated = subject.rng("integers"), list(subject.values)
    for i in found:
        every = np.stack([subject.values[i], *(leaves[i].values for leaves in draws)])
        extreme = np.where(rng.random(repeated[i].shape) < 0.5, every.min(), every.max())
        repeated[i] = extreme.astype(subject.values[i].dtype)
    yield repeated


def _bytes_of(values: Sequence[Any], chosen: Sequence[int]) -> bytes:
    return b"".join(np.asarray(values[i]).tobytes() for i in chosen)


def _tied(subject: Subject) -> list[Any] | None:
    """Return leaves with two largest and two smallest numbers in each row, and half of one in another of its shape.

    None if that changes nothing, or the input is long.
    """
    values = list(subject.values)
    chosen = _tieable(subject)
    for i in chosen:
        values[i] = np.array(values[i])
        if np.ndim(values[i]) and values[i].shape[-1] > 1:
            rows = values[i].reshape(-1, values[i].shape[-1])
            order = np.argsort(wide(rows), axis=-1)
            every = np.arange(len(rows))
            for one, other in ((-2, -1), (1, 0)) if rows.shape[-1] > 3 else ((-2, -1),):
                rows[every, order[:, one]] = rows[every, order[:, other]]
    # Of two inputs the larger takes from the smaller, which stays in the range where it was drawn.
    chosen.sort(key=lambda i: largest(wide(values[i])))
    for one, other in pairwise(chosen):
        a, b = values[one], values[other]
        if a.shape == b.shape and a.dtype == b.dtype and subject.leaves[other].domain is None:
            b.flat[: b.size // 2] = a.flat[: b.size // 2]
    return values if chosen else None


def _coarse(subject: Subject) -> list[Any] | None:
    """Return leaves that hold three numbers of their own only, so that windows, segments and medians tie too."""
    values = list(subject.values)
    chosen = [i for i in _tieable(subject) if values[i].size > LEVELS]
    for i in chosen:
        ordered = np.sort(values[i], axis=None)
        levels = ordered[(2 * np.arange(LEVELS) + 1) * ordered.size // (2 * LEVELS)]
        nearest = np.argmin(np.abs(wide(values[i])[..., None] - wide(levels)), axis=-1)
        values[i] = levels[nearest]
    return values if chosen else None


def _tieable(subject: Subject) -> list[int]:
    """Return the leaves of which some values may be the same: none if the input is long."""
    if subject.layout.inputs.width > WIDEST:
        return []
    return [
        i
        for i in subject.sources
        if subject.leaves[i].structure is None and subject.values[i].dtype.kind in "fV" and subject.values[i].size > 1
    ]


def _unasked(finding: Finding) -> Finding:
    """Return a warning: an op may be made for one size of an axis, but then it should refuse another."""
    return replace(
        finding,
        code="dynamic-shape",
        cause=None,
        level="warning",
        hint="a size is written down in grad_fn: take it from the tensors, or refuse other sizes in the forward",
    )


def _at_other_variables(subject: Subject) -> Iterator[Place]:
    """Yield places with every floating variable that the op reads at a general value near its own."""
    state = subject.gradients.state
    used = {variable.variable.ref() for variable in subject.every_variable}
    movable = [v.ref() in used and differentiable(v) for v in state.variables]
    if not any(movable):
        return
    for number, (size, with_inputs) in enumerate(MOVES):
        rng = subject.rng("variables", str(number))
        moved = [
            _moved(value, rng, size if v.trainable or value.size > 1 else 0.0) if f else value
            for v, value, f in zip(state.variables, state.values, movable, strict=True)
        ]
        values = another_point_of_like_signs(subject, "variables") if with_inputs else subject.values
        there = State(state.variables, tuple(moved))
        yield Place("at other values of the variables", tuple(values), there, resized=False)


def _moved(value: Any, rng: np.random.Generator, size: float) -> Any:
    """Scale what is not zero, so that its sign and size stay; draw what is zero, of a typical `size`.

    Running averages start at zero; steps and counters do too, and those must stay whole.
    """
    factor = rng.uniform(0.6, 1.7, value.shape)
    start = size * rng.normal(size=value.shape)
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
