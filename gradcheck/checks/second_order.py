"""The gradient of the gradient, against finite differences of it and autodiff's second derivative."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.autodiff.failures import first_line
from gradcheck.autodiff.modes import Way, as_tensor, dense, to_array
from gradcheck.autodiff.operation import Operation, differentiable
from gradcheck.autodiff.promote import wide_dtype
from gradcheck.autodiff.subject import Subject
from gradcheck.checks.verdicts import main_reference, tolerance_of
from gradcheck.numerics.assess import UNDECIDED, WRONG, assess
from gradcheck.numerics.differences import Point
from gradcheck.numerics.directions import signed_uniform
from gradcheck.numerics.ladder import Array
from gradcheck.results import Comparison, Element, Finding

PHASE = "second_order"
LIMIT = 512


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
    if any(f.code in blocking for f in found):
        return
    weights = subject.layout.inputs.unpack(signed_uniform(subject.rng("second"), subject.layout.inputs.width))
    values, error = _first_way(subject, weights)
    if values is None:
        yield _missing_finding("all inputs", f"differentiating the gradient raises {error}")
        return
    slope, outcome, _label, tolerance = _differences(subject, weights, values)
    wrong = False
    for index, (slot, part) in enumerate(zip(subject.slots, subject.layout.inputs.ranges(), strict=True)):
        bad = outcome[part] == WRONG
        if values.missing[index]:
            if bad.any() or _large(slope[part], outcome[part]):
                wrong = True
                worst = float(np.nanmax(np.abs(np.where(outcome[part] != UNDECIDED, slope[part], 0.0)), initial=0.0))
                yield _missing_finding(slot.name, f"it is None, by finite differences it is up to {worst:.6g}")
            continue
        if bad.any():
            wrong = True
            yield _mismatch(subject, index, part, values.packed, slope, tolerance, bad)
    if not wrong:
        yield from _other_ways(subject, weights, values)


def _large(slope: Array, outcome: np.ndarray) -> bool:
    decided = outcome != UNDECIDED
    return bool(np.any(np.abs(slope[decided]) > 1e-6))


def _missing_finding(name: str, how: str) -> Finding:
    return Finding(
        "second-order-missing",
        f"there is no second derivative with respect to `{name}`: {how}",
        hint="look for tf.stop_gradient, .numpy() or numpy_function in grad_fn; or set `order: 1`",
        wrt=None if name == "all inputs" else name,
        mode="eager",
    )


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
    for i in np.where(bad)[0][: subject.cache.get("show", 10)]:
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
    """Return the second derivative in float64 if the op takes it, else in its own dtype."""
    wide = main_reference(subject).realm.name == "float64"
    try:
        return _second(subject, subject.operation, subject.ways[0], weights, wide), ""
    except Exception as error:
        return None, first_line(error)


def _second(subject: Subject, operation: Operation, way: Way, weights: list[Any], wide: bool) -> _Second:
    """Return d/dx of w . g(x), with both tapes on the side of the function that `way` says."""
    g = subject.gradients
    variables = list(g.variables)
    sources = subject.sources

    def gradient(tensors: Any, ups: Any) -> Any:
        with tf.GradientTape() as inner:
            inner.watch([tensors[i] for i in sources])
            outputs = call(tensors)
        watched = [tensors[i] for i in sources]
        targets = _floating(outputs)
        return inner.gradient(targets, [*watched, *variables], output_gradients=ups)

    def second(tensors: Any, ups: Any, directions: Any) -> Any:
        with tf.GradientTape() as outer:
            outer.watch([tensors[i] for i in sources])
            first = gradient(tensors, ups)
        return _outer(outer, first, [*(tensors[i] for i in sources), *variables], directions)

    call = operation
    run = second
    if way.mode != "eager":
        compiled = way.mode == "xla"
        if way.tape == "inside":
            run = tf.function(second, jit_compile=compiled)
        else:
            call = tf.function(lambda tensors: operation(tensors), jit_compile=compiled)
    g.state.restore()
    tensors = [as_tensor(v) for v in subject.values]
    if wide:
        tensors = [tf.cast(t, wide_dtype(t.dtype)) if differentiable(t) else t for t in tensors]
    dtype = wide_dtype if wide else (lambda d: tf.as_dtype(d))
    ups = [tf.constant(u, dtype(s.dtype)) for u, s in zip(subject.upstream, subject.layout.outputs.slots, strict=True)]
    directions = [tf.constant(w, dtype(s.dtype)) for w, s in zip(weights, subject.slots, strict=True)]
    found = [to_array(h) for h in run(tensors, ups, directions)]
    return _Second(subject.layout.inputs.project(found), tuple(h is None for h in found))


@tf.autograph.experimental.do_not_convert
def _floating(outputs: Any) -> list[Any]:
    return [o for o in outputs if differentiable(o)]


@tf.autograph.experimental.do_not_convert
def _outer(tape: Any, first: Any, sources: Any, directions: Any) -> Any:
    pairs = [(dense(g), w) for g, w in zip(first, directions, strict=True) if g is not None]
    targets = [g for g, _ in pairs]
    if not targets:
        return [None] * len(sources)
    found = tape.gradient(targets, sources, output_gradients=[tf.cast(w, g.dtype) for g, w in pairs])
    return [dense(h) for h in found]


def _differences(subject: Subject, weights: list[Any], values: _Second) -> tuple[Array, Any, Any, Array]:
    """Difference w . g along every coordinate, in the widest realm of the first derivative."""
    reference = main_reference(subject)
    realm, base = reference.realm, reference.point
    packed = subject.layout.inputs.project(weights)

    def evaluate(rows: Array) -> Array:
        return np.stack([realm.gradient(row, base.cotangent) for row in rows])

    point = Point(
        evaluate, base.x, evaluate(base.x[None])[0], packed, base.low, base.high, base.roundoff, base.quantize
    )
    tolerance = tolerance_of(subject, reference)
    if realm.name != "float64":
        # The second derivative itself comes from the op's own dtype.
        tolerance = replace(tolerance, rtol=max(tolerance.rtol, 1e-2))
    chosen = np.arange(base.x.size)
    if chosen.size > LIMIT:
        chosen = np.sort(subject.rng("second sample").choice(chosen, LIMIT, replace=False))
    part = assess(point, values.packed, tolerance, subject.rng("second differences"), chosen, reference.trusted)
    count = base.x.size
    slope, limit = np.full(count, np.nan), np.zeros(count)
    outcome, label = np.full(count, UNDECIDED, "<U9"), np.full(count, "", "<U10")
    slope[chosen], limit[chosen], outcome[chosen], label[chosen] = part.value, part.tolerance, part.outcome, part.label
    return slope, outcome, label, limit


def _other_ways(subject: Subject, weights: list[Any], base: _Second) -> Iterator[Finding]:
    """Compare the other modes and tapes with the first way."""
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
            if not a and not b and np.any(np.abs(x - y) > loose * (np.abs(x) + scale)):
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
