"""Is grad_fn linear in its upstream, and does it take every kind of upstream?"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from gradcheck.autodiff.coordinates import Slot
from gradcheck.autodiff.failures import finding_from, first_line
from gradcheck.autodiff.modes import as_tensor, dense
from gradcheck.autodiff.noise import DRAWS, NOISY, noise_of
from gradcheck.autodiff.operation import differentiable, floating_arrays
from gradcheck.autodiff.probe import Real
from gradcheck.autodiff.reference import Reference
from gradcheck.autodiff.subject import Subject
from gradcheck.autodiff.tracing import GradientTape
from gradcheck.checks.gradients import gradient_at, main_gradient, main_reference
from gradcheck.checks.rounding import last_digits_moved
from gradcheck.numerics.closeness import close, largest
from gradcheck.numerics.directions import signed_uniform
from gradcheck.numerics.ladder import Array
from gradcheck.numerics.parts import parts_of
from gradcheck.numerics.tolerance import ROUNDOFF
from gradcheck.results import Comparison, Finding

PHASE = "upstream"
NEGLIGIBLE = 1e-12
# What half precision inside a gradient may leave of its linearity.
COARSE = 2.0**-6


def check(subject: Subject, found: Sequence[Finding]) -> Iterator[Finding | Comparison]:
    """Check g(0)=0, g(-u)=-g(u), g(u+v)=g(u)+g(v), large and small u, and sparse upstreams."""
    blocked = {f.wrt for f in found if f.level == "error"}
    sound = not any(f.level == "error" for f in found)
    if subject.layout.inputs.width and subject.layout.outputs.width and not subject.case.expected_vjp:
        for finding in _linearity(subject, blocked):
            sound = False
            yield finding
    if subject.custom and sound:
        yield from _single_outputs(subject)
        yield from _sparse(subject)


def _linearity(subject: Subject, blocked: set[str | None]) -> Iterator[Finding]:
    reference, parts = main_reference(subject), subject.layout.inputs.ranges()
    u = reference.point.cotangent
    v = reference.on_alive(signed_uniform(subject.rng("upstream"), u.size))
    big, small = _reach(subject, reference)

    def g(cotangent: Array) -> Array:
        return gradient_at(subject, reference, reference.point.with_cotangent(cotangent))

    at_u, at_v = main_gradient(subject), g(v)
    # What computes in float32 somewhere rounds so, whatever goes in.
    single = 0.0 if reference.realm.all_double() else 16 * ROUNDOFF["float32"]
    tolerance = max(1e-7, 256 * reference.realm.roundoff, single)
    noise = _noise(subject, reference, at_u)
    # And its sums leave roundings of the largest terms in the smallest results.
    least = 1.0 if single else 1e-3
    floors = [least * _largest_sum(at_u[part], at_v[part]) + noise / tolerance for part in parts]

    def gaps(found: Array, wanted: Callable[[slice], Array]) -> list[float]:
        return [_gap(found, wanted, at_u, at_v, part, floor) for part, floor in zip(parts, floors, strict=True)]

    # A number per input is kept of each law, not the gradients: of a large input few fit beside each other.
    found = g(0 * u)
    bad = _nan_for_zero(subject, reference, found, at_u)
    laws = {"g(0) is not 0": gaps(found, lambda s: 0 * at_u[s])}
    found = g(-u)
    laws["g(-u) is not -g(u)"] = gaps(found, lambda s: -at_u[s])
    same_for_minus = gaps(found, lambda s: at_u[s])
    del found
    same_for_double = gaps(g(2 * u), lambda s: at_u[s])
    laws["g(u + v) is not g(u) + g(v)"] = gaps(g(u + v), lambda s: at_u[s] + at_v[s])
    for factor in (big, small):
        law = f"g({factor:g} u) is not {factor:g} g(u)"
        found = g(factor * u)
        found /= factor
        laws[law] = gaps(found, lambda s: at_u[s])
        del found
    for number, (slot, part) in enumerate(zip(subject.slots, parts, strict=True)):
        if slot.name in blocked:
            continue
        if max(same_for_double[number], same_for_minus[number]) <= tolerance:
            if np.any(np.abs(at_u[part]) > noise):
                yield _ignores(slot.name)
            continue
        if bad[part].any():
            yield _nan_at_zero(slot, bad[part])
            continue
        allowed = tolerance
        if any(gap[number] > allowed for gap in laws.values()) and _coarse(g, u, at_u, part):
            allowed = COARSE
        broken = [law for law, gap in laws.items() if gap[number] > allowed]
        if broken and not _only_rounding(subject, reference, at_u, part):
            yield _nonlinear(slot.name, broken)


def _reach(subject: Subject, reference: Reference) -> tuple[float, float]:
    """Return a large and a small factor of the upstream: loss scaling and means reach far, half precision does not."""
    if not reference.realm.wide:
        return 16.0, 1 / 16
    if subject.rounds_to_half or reference.realm.halves:
        return 2.0**10, 2.0**-10
    return 2.0**20, 2.0**-20


def _noise(subject: Subject, reference: Reference, at_u: Array) -> float:
    """Return what is nothing: a gradient that is zero but for rounding has the size of what was summed, not its own."""
    if reference.realm.wide:
        return NEGLIGIBLE * max(largest(at_u), largest(reference.point.cotangent))
    return max(256 * reference.realm.roundoff * largest(at_u), noise_of(subject).most_gradient)


def _only_rounding(subject: Subject, reference: Reference, at_u: Array, part: slice) -> bool:
    """Return whether a gradient is no larger than what rounding leaves of it: all of its terms cancel."""
    rng, point, unit = subject.rng("upstream rounding"), reference.point, 2 * reference.realm.roundoff
    left = 0.0
    for _ in range(DRAWS):
        x, cotangent = (last_digits_moved(values, unit, rng) for values in (point.x, point.cotangent))
        # An op may refuse what is beside a valid input.
        with contextlib.suppress(Exception):
            left = max(left, largest(reference.realm.gradient(point.clipped(x), cotangent)[part] - at_u[part]))
    return largest(at_u[part]) <= NOISY * left


def _coarse(g: Callable[[Array], Array], u: Array, at_u: Array, part: slice) -> bool:
    """Return whether the gradient is rounded to half precision inside: it stays as it is for upstreams close by."""
    near = g(u * (1 + 2.0**-14))[part]
    alive = at_u[part] != 0
    return bool(alive.any() and np.mean(near[alive] == at_u[part][alive]) > 0.5)


def _largest_sum(a: Array, b: Array) -> float:
    """Return the largest finite |a| + |b|."""
    sums = (np.abs(a[part]) + np.abs(b[part]) for part in parts_of(a.size))
    return max((float(np.max(s, where=np.isfinite(s), initial=0.0)) for s in sums), default=0.0)


def _gap(found: Array, wanted: Callable[[slice], Array], at_u: Array, at_v: Array, part: slice, floor: float) -> float:
    """Return the largest difference in units of |g(u)| + |g(v)| + `floor`, where both are finite."""
    most = 0.0
    for piece in parts_of(part.stop - part.start):
        here = slice(part.start + piece.start, part.start + piece.stop)
        is_there, should_be = found[here], wanted(here)
        with np.errstate(all="ignore"):
            difference = np.abs(is_there - should_be)
            scale = np.abs(at_u[here]) + np.abs(at_v[here]) + floor
            relative = np.where(difference > 0, difference / scale, 0.0)
        relative = np.where(np.isnan(relative), np.inf, relative)
        both = np.isfinite(is_there) & np.isfinite(should_be)
        most = max(most, float(np.max(relative, where=both, initial=0.0)))
    return most


def _nan_for_zero(subject: Subject, reference: Reference, zero: Array, at_u: Array) -> NDArray[np.bool_]:
    """Return where a zero upstream gives NaN although the forward is finite.

    Where the slope itself is infinite, 0 * inf is not held against the op.
    """
    bad = ~np.isfinite(zero) & ~np.isinf(at_u)
    return np.asarray(bad & subject.custom & bool(reference.alive.all()))


def _nan_at_zero(slot: Slot, bad: NDArray[np.bool_]) -> Finding:
    where = list(slot.where(int(np.argmax(bad))))
    return Finding(
        "gradient-nonfinite",
        f"the gradient of `{slot.name}` is NaN at {where} for a zero upstream (0 * inf, or 0 / 0)",
        hint="guard the denominator, not the result: y = tf.where(ok, x, 1.0), then divide (the double where)",
        wrt=slot.name,
        mode="eager",
    )


def _ignores(name: str) -> Finding:
    return Finding(
        "upstream-nonlinear",
        f"the gradient of `{name}` does not depend on the upstream gradient: twice the upstream gives the same",
        "ignores-upstream",
        hint="multiply the returned gradient by upstream",
        wrt=name,
        mode="eager",
    )


def _nonlinear(name: str, broken: Sequence[str]) -> Finding:
    return Finding(
        "upstream-nonlinear",
        f"the gradient of `{name}` is not linear in the upstream gradient: {'; '.join(broken)}",
        "nonlinear",
        hint="use upstream exactly once as a factor; declare clipping on purpose with `expected_vjp`",
        wrt=name,
        mode="eager",
    )


def _single_outputs(subject: Subject) -> Iterator[Finding]:
    """Take the gradient of one output alone: grad_fn must work when the others are not used."""
    slots = subject.layout.outputs.slots
    if len(slots) < 2:
        return
    for number in range(len(slots)):
        subject.gradients.state.restore()
        subject.probe.clear()
        try:
            with GradientTape() as tape:
                tensors = [as_tensor(v) for v in subject.values]
                watched = [tensors[i] for i in subject.sources]
                tape.watch(watched)
                outputs = [t for t in subject.operation(tensors) if differentiable(t)]
            tape.gradient(outputs[number], watched, output_gradients=as_tensor(subject.upstream[number]))
        except Exception as error:
            finding = finding_from(error, "gradient-error", subject.probe)
            yield Finding(
                finding.code,
                f"when only output {number} is used: {finding.message}",
                finding.cause,
                hint=finding.hint or "handle None for the upstream of an output that is not used",
                mode="eager",
                traceback=finding.traceback,
                file=finding.file,
                line=finding.line,
            )
            return


def _sparse(subject: Subject) -> Iterator[Finding]:
    """Put tf.gather after the op, as an embedding does: its upstream is tf.IndexedSlices."""
    floating = [(i, o) for i, o in enumerate(subject.outputs) if np.ndim(o) and np.shape(o)[0] and floating_arrays([o])]
    if not floating or not subject.sources or subject.gradients.seed is not None:
        return
    position, output = floating[0]
    rows = [0, int(np.shape(output)[0]) - 1, 0]
    try:
        wanted = _gathered(subject, position, rows, thick=True)
    except Exception:
        return
    try:
        got = _gathered(subject, position, rows, thick=False)
    except Exception as error:
        yield _sparse_finding(
            f"it fails when the upstream is tf.IndexedSlices (as after tf.gather): {first_line(error)}"
        )
        return
    if subject.case.expected_vjp:
        return
    for leaf, a, b in zip(subject.sources, wanted, got, strict=True):
        if a is not None and b is not None and not (np.isfinite(a).all() and np.isfinite(b).all()):
            continue
        same = (a is None) == (b is None) and (a is None or np.shape(a) == np.shape(b))
        if not same or (a is not None and not close(b, a, 1e-2, 1e-3 * largest(a))):
            yield _sparse_finding(f"the gradient of `{subject.leaves[leaf].name}` is wrong for tf.IndexedSlices")
            return


def _gathered(subject: Subject, position: int, rows: list[int], thick: bool) -> list[Any]:
    """Return the gradients for the upstream that tf.gather of `rows` hands back, made dense if `thick`."""
    subject.gradients.state.restore()
    upstream = _upstream_of_rows(subject.outputs[position], rows, thick)
    with GradientTape() as tape:
        tensors = [as_tensor(v) for v in subject.values]
        watched = [tensors[i] for i in subject.sources]
        tape.watch(watched)
        output = subject.operation(tensors)[position]
        taken = Real(lambda y: (tf.constant(0, y.dtype), lambda _: upstream))(output)
    return [None if g is None else np.asarray(dense(g)) for g in tape.gradient(taken, watched)]


def _upstream_of_rows(output: Any, rows: list[int], thick: bool) -> Any:
    """Return an upstream of 1, 2, 3 ... along each of the rows, which count as often as they are named."""
    row = np.arange(1, 1 + math.prod(output.shape[1:])).reshape(output.shape[1:]).astype(output.dtype)
    if not thick:
        return tf.IndexedSlices(as_tensor(np.stack([row] * len(rows))), as_tensor(rows), as_tensor(output.shape))
    whole = np.zeros_like(output)
    for number in rows:
        whole[number] += row
    return as_tensor(whole)


def _sparse_finding(message: str) -> Finding:
    return Finding(
        "sparse-upstream",
        message,
        level="warning",
        hint="begin grad_fn with upstream = tf.convert_to_tensor(upstream)",
        mode="eager",
    )
