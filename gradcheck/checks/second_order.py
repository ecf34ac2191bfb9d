"""The gradient of the gradient, against finite differences of it and autodiff's second derivative."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.autodiff.failures import first_line
from gradcheck.autodiff.modes import Way, as_tensor, dense, spec_of, to_array
from gradcheck.autodiff.operation import Operation, differentiable, floating
from gradcheck.autodiff.promote import promote, wide_dtype
from gradcheck.autodiff.realm import twin_variables
from gradcheck.autodiff.reference import FLOAT64, REWRITTEN
from gradcheck.autodiff.subject import Subject
from gradcheck.autodiff.tracing import GradientTape, function
from gradcheck.checks.gradients import main_reference, tolerance_of
from gradcheck.numerics.assess import Outcome, assess
from gradcheck.numerics.closeness import largest, worst_first
from gradcheck.numerics.directions import signed_uniform
from gradcheck.numerics.ladder import Array
from gradcheck.numerics.point import Point
from gradcheck.numerics.tolerance import ROUNDOFF
from gradcheck.results import Comparison, Element, Finding, blamed

PHASE = "second_order"
LIMIT = 512
# Roundings of the largest second derivative that may be left of another.
LEFT = 256


@dataclass(frozen=True, slots=True)
class _Second:
    """Hold the second derivative from one way: packed, and which inputs got None."""

    packed: Array
    missing: tuple[bool, ...]


def check(subject: Subject, found: Sequence[Finding]) -> Iterator[Finding | Comparison]:
    """With `order: 2`, differentiate w . gradient and compare it with finite differences of it."""
    if subject.case.order < 2 or subject.eager is None or not subject.sources or not subject.layout.outputs.width:
        return
    blocking = ("gradient-mismatch", "gradient-shape", "gradient-dtype", "gradient-missing", "upstream-nonlinear")
    if blamed(found, blocking):
        return
    weights = subject.layout.inputs.unpack(signed_uniform(subject.rng("second"), subject.layout.inputs.width))
    values, error = _first_way(subject, weights)
    if values is None:
        yield _missing_finding("all inputs", f"differentiating the gradient raises {error}")
        return
    slope, outcome, tolerance = _differences(subject, weights, values)
    wrong = False
    for index, (slot, part) in enumerate(zip(subject.slots, subject.layout.inputs.ranges(), strict=True)):
        bad = outcome[part] == Outcome.WRONG
        if values.missing[index]:
            if bad.any() or _large(slope[part], outcome[part]):
                wrong = True
                worst = float(
                    np.nanmax(np.abs(np.where(outcome[part] != Outcome.UNDECIDED, slope[part], 0.0)), initial=0.0)
                )
                yield _missing_finding(slot.name, f"it is None, by finite differences it is up to {worst:.6g}")
            continue
        if bad.any():
            wrong = True
            yield _mismatch(subject, index, part, values.packed, slope, tolerance, bad)
    if not wrong:
        yield from _through_upstream(subject, weights)
        yield from _other_ways(subject, weights, values)


def _through_upstream(subject: Subject, weights: list[Any]) -> Iterator[Finding]:
    """Hold d(w . gradient)/d upstream against the difference of the forward along w, which it equals."""
    reference = main_reference(subject)
    if subject.case.surrogate or subject.case.expected_vjp or not reference.realm.wide:
        return
    direction = subject.layout.inputs.pack(weights)
    step = 2.0**-17 * float(np.median(reference.point.sizes)) / max(float(np.abs(direction).max()), 1.0)
    x = reference.point.x
    try:
        found = _upstream_derivative(subject, subject.operation, weights)
        plain = _upstream_derivative(subject, subject.plain(), weights)
        ahead, behind = reference.realm.evaluate(np.stack([x + step * direction, x - step * direction]))
    except Exception:
        return
    wanted = (ahead - behind) / (2 * step)
    largest = float(np.abs(wanted).max(initial=0.0))
    loose = 0.1 if subject.rounds_to_half else 1e-2
    limit = loose * (np.abs(wanted) + largest)
    # Autodiff, which shares no rule with the op, has to confirm the difference.
    if plain is None or not np.all(np.abs(plain - wanted) <= limit):
        return
    if found is None and largest > 1e-6:
        yield _missing_finding("the upstream gradient", "it is None, so a gradient of this gradient loses a part")
    elif found is not None and not np.all(np.abs(found - wanted) <= limit):
        worst = int(np.argmax(np.abs(found - wanted)))
        yield Finding(
            "second-order-mismatch",
            f"the derivative of the gradient with respect to the upstream is wrong: {found[worst]:.6g}, by finite"
            f" differences {wanted[worst]:.6g}",
            hint="the gradient must be differentiable in the upstream too: no tf.stop_gradient or .numpy() on it",
            mode="eager",
            dtype=subject.dtype,
        )


def _upstream_derivative(subject: Subject, operation: Operation, weights: list[Any]) -> Array | None:
    """Return d(w . gradient)/d upstream, packed; None if there is none."""
    g, slots = subject.gradients, subject.layout.outputs.slots
    g.state.restore()
    tensors = [as_tensor(v) for v in subject.values]
    ups = [as_tensor(u) for u in subject.upstream]
    directions = [tf.constant(w, s.dtype) for w, s in zip(weights, subject.slots, strict=True)]
    with GradientTape() as outer:
        outer.watch(ups)
        with GradientTape() as inner:
            watched = [tensors[i] for i in subject.sources]
            inner.watch(watched)
            outputs = operation(tensors)
        first = inner.gradient(floating(outputs), [*watched, *g.variables], output_gradients=ups)
    found = _outer(outer, first, ups, directions)
    if all(h is None for h in found):
        return None
    arrays = [np.zeros(s.shape) if h is None else to_array(h) for h, s in zip(found, slots, strict=True)]
    return subject.layout.outputs.pack(arrays)


def _large(slope: Array, outcome: np.ndarray) -> bool:
    decided = outcome != Outcome.UNDECIDED
    return bool(np.any(np.abs(slope[decided]) > 1e-6))


def _missing_finding(name: str, how: str) -> Finding:
    return Finding(
        "second-order-missing",
        f"there is no second derivative with respect to {_quoted(name)}: {how}",
        hint="look for tf.stop_gradient, .numpy() or numpy_function in grad_fn; or set `order: 1`",
        wrt=None if name in ("all inputs", "the upstream gradient") else name,
        mode="eager",
    )


def _quoted(name: str) -> str:
    return name if " " in name else f"`{name}`"


def _mismatch(
    subject: Subject,
    index: int,
    part: slice,
    values: Array,
    slope: Array,
    tolerance: Array,
    bad: np.ndarray,
) -> Finding:
    slot = subject.slots[index]
    point = subject.vector()[part]
    plain = _autodiff(subject)
    elements = []
    for i in worst_first(bad, values[part], slope[part], subject.cache.get("show", 10)):
        g, t = float(values[part][i]), float(slope[part][i])
        a = None if plain is None else float(plain[part][i])
        elements.append(
            Element(slot.where(int(i)), float(point[i]), g, a, t, abs(g - t), abs(g - t) / (abs(t) or 1.0),
                    float(tolerance[part][i]))
        )  # fmt: skip
    return Finding(
        "second-order-mismatch",
        f"the second derivative with respect to `{slot.name}` is wrong at {int(bad.sum())} of {bad.size} elements:"
        " finite differences of the gradient say otherwise",
        hint="grad_fn hides how the gradient depends on the input: compute it from the inputs with TensorFlow ops",
        wrt=slot.name,
        mode="eager",
        dtype=subject.dtype,
        elements=tuple(elements),
    )


def _autodiff(subject: Subject) -> Array | None:
    weights = subject.layout.inputs.unpack(signed_uniform(subject.rng("second"), subject.layout.inputs.width))
    try:
        return _second(subject, subject.plain(), subject.ways[0], weights, wide=False).packed
    except Exception:
        return None


def _first_way(subject: Subject, weights: list[Any]) -> tuple[_Second | None, str]:
    """Return the second derivative in the realm of the first one, else in the op's own dtype."""
    realm = main_reference(subject).realm
    attempts: list[Callable[[], _Second]] = []
    if realm.name == FLOAT64:
        attempts.append(lambda: _second(subject, subject.operation, subject.ways[0], weights, wide=True))
    elif realm.name == REWRITTEN:
        attempts.append(lambda: _second_rewritten(subject, weights))
    attempts.append(lambda: _second(subject, subject.operation, subject.ways[0], weights, wide=False))
    told = ""
    for attempt in attempts:
        try:
            return attempt(), ""
        except Exception as error:  # the user's code, or an op that cannot be promoted
            told = first_line(error)
    return None, told


def _second_rewritten(subject: Subject, weights: list[Any]) -> _Second:
    """Return the second derivative of the op's graph, rewritten to float64."""
    g, layout = subject.gradients, subject.layout
    missing: list[bool] = []
    run = _second_program(subject, subject.operation)

    def traced(tensors: Any, ups: Any, directions: Any) -> Any:
        found = run(tensors, ups, directions)
        missing[:] = [h is None for h in found]
        return [h for h in found if h is not None]

    g.state.restore()
    specs = (
        [spec_of(value) for value in subject.values],
        [tf.TensorSpec(slot.shape, slot.dtype) for slot in layout.outputs.slots],
        [tf.TensorSpec(slot.shape, slot.dtype) for slot in layout.inputs.slots],
    )
    concrete = function(traced).get_concrete_function(*specs)
    if not concrete.outputs:
        return _Second(np.zeros(layout.inputs.width), tuple(missing))
    twins = twin_variables([v.variable for v in subject.every_variable])
    tensors = [as_tensor(v) for v in subject.values]
    tensors = [tf.cast(t, wide_dtype(t.dtype)) if differentiable(t) else t for t in tensors]
    ups = [tf.constant(u, wide_dtype(s.dtype)) for u, s in zip(subject.upstream, layout.outputs.slots, strict=True)]
    directions = [tf.constant(w, wide_dtype(s.dtype)) for w, s in zip(weights, subject.slots, strict=True)]
    found = iter(promote(concrete, twins).part(slice(None))([*tensors, *ups, *directions]))
    arrays = [None if absent else to_array(next(found)) for absent in missing]
    return _Second(layout.inputs.project(arrays), tuple(missing))


def _second(subject: Subject, operation: Operation, way: Way, weights: list[Any], wide: bool) -> _Second:
    """Return d/dx of w . g(x), with both tapes on the side of the function that `way` says."""
    g = subject.gradients
    call = None
    if way.tape == "outside":
        call = function(operation, jit_compile=way.mode == "xla")
    run = _second_program(subject, operation, call)
    if way.tape == "inside":
        run = function(run, jit_compile=way.mode == "xla")
    g.state.restore()
    tensors = [as_tensor(v) for v in subject.values]
    if wide:
        tensors = [tf.cast(t, wide_dtype(t.dtype)) if differentiable(t) else t for t in tensors]
    dtype = wide_dtype if wide else tf.as_dtype
    ups = [tf.constant(u, dtype(s.dtype)) for u, s in zip(subject.upstream, subject.layout.outputs.slots, strict=True)]
    directions = [tf.constant(w, dtype(s.dtype)) for w, s in zip(weights, subject.slots, strict=True)]
    found = [to_array(h) for h in run(tensors, ups, directions)]
    return _Second(subject.layout.inputs.project(found), tuple(h is None for h in found))


def _second_program(subject: Subject, operation: Operation, forward: Any = None) -> Any:
    """Return (tensors, upstream, directions) -> d/dx of directions . gradient; `forward` replaces the op."""
    sources, variables = subject.sources, list(subject.gradients.variables)
    call = operation if forward is None else forward

    def second(tensors: Any, ups: Any, directions: Any) -> Any:
        with GradientTape() as outer:
            watched = [tensors[i] for i in sources]
            outer.watch(watched)
            with GradientTape() as inner:
                inner.watch(watched)
                outputs = call(tensors)
            first = inner.gradient(floating(outputs), [*watched, *variables], output_gradients=ups)
        return _outer(outer, first, [*watched, *variables], directions)

    return second


def _outer(tape: Any, first: Any, sources: Any, directions: Any) -> Any:
    pairs = [(dense(g), w) for g, w in zip(first, directions, strict=True) if g is not None]
    targets = [g for g, _ in pairs]
    if not targets:
        return [None] * len(sources)
    found = tape.gradient(targets, sources, output_gradients=[tf.cast(w, g.dtype) for g, w in pairs])
    return [dense(h) for h in found]


def _differences(subject: Subject, weights: list[Any], values: _Second) -> tuple[Array, Any, Array]:
    """Difference w . g along every coordinate, in the widest realm of the first derivative."""
    reference = main_reference(subject)
    realm, base = reference.realm, reference.point
    packed = subject.layout.inputs.pack(weights)

    def evaluate(rows: Array) -> Array:
        return np.stack([realm.gradient(row, base.cotangent) for row in rows])

    point = Point(
        evaluate, base.x, evaluate(base.x[None])[0], packed, base.low, base.high, base.roundoff, base.quantize
    )
    tolerance = tolerance_of(subject, reference)
    chosen = np.arange(base.x.size)
    if chosen.size > LIMIT:
        chosen = np.sort(subject.rng("second sample").choice(chosen, LIMIT, replace=False))
    part = assess(point, values.packed, tolerance, subject.rng("second differences"), chosen, reference.trusted)
    count = base.x.size
    slope, limit = np.full(count, np.nan), np.zeros(count)
    outcome = np.full(count, Outcome.UNDECIDED, np.int8)
    slope[chosen], limit[chosen], outcome[chosen] = part.value, part.tolerance, part.outcome
    return slope, outcome, limit


def _other_ways(subject: Subject, weights: list[Any], base: _Second) -> Iterator[Finding]:
    """Compare the other modes and tapes with the first way, each in the op's own dtype."""
    with contextlib.suppress(Exception):
        own = _second(subject, subject.operation, subject.ways[0], weights, wide=False)
        base = own if own.missing == base.missing else base
    # What is zero in one input has the rounding of what is not in others.
    rounding = LEFT * ROUNDOFF.get(subject.coarsest, 2.0**-24) * largest(base.packed)
    for way in subject.ways[1:]:
        try:
            got = _second(subject, subject.operation, way, weights, wide=False)
        except Exception as error:
            if way.tape == "outside" and re.search("out of scope|cannot be accessed|inaccessible", str(error)):
                subject.cache.setdefault("notes", []).append(
                    f"{way.label}: TensorFlow cannot differentiate a custom gradient twice this way; not checked"
                )
                continue
            if _plain_works(subject, way, weights):
                yield replace(
                    _missing_finding(
                        "all inputs", f"in {way.label}, differentiating the gradient raises {first_line(error)}"
                    ),
                    mode=way.mode,
                    tape=way.tape,
                )
                return
            continue
        for slot, part, a, b in zip(
            subject.slots, subject.layout.inputs.ranges(), base.missing, got.missing, strict=True
        ):
            x, y = base.packed[part], got.packed[part]
            scale = float(np.abs(x).max(initial=0.0))
            if b and not a and scale > 1e-6 and _plain_works(subject, way, weights):
                yield replace(
                    _missing_finding(slot.name, f"it is None in {way.label} only"), mode=way.mode, tape=way.tape
                )
                return
            loose = 0.1 if subject.dtype in ("float16", "bfloat16") else 1e-2
            if not a and not b and np.any(np.abs(x - y) > loose * (np.abs(x) + scale) + rounding):
                yield Finding(
                    "second-order-mismatch",
                    f"the second derivative with respect to `{slot.name}` differs between {subject.ways[0].label} and"
                    f" {way.label}",
                    hint="a custom gradient inside grad_fn may be bypassed in one of them",
                    wrt=slot.name,
                    mode=way.mode,
                    tape=way.tape,
                )
                return


def _plain_works(subject: Subject, way: Way, weights: list[Any]) -> bool:
    try:
        return not all(_second(subject, subject.plain(), way, weights, wide=False).missing)
    except Exception:
        return False
