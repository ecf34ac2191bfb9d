# SPDX-License-Identifier: Apache-2.0
"""Is grad_fn linear in its upstream, and does it take every kind of upstream?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gradcheck.backend.tensorflow.failures import finding_from, first_line
from gradcheck.backend.tensorflow.faults import own_fault, refusals, refused
from gradcheck.backend.tensorflow.operation import floating_arrays
from gradcheck.backend.tensorflow.upstreams import of_one_output, of_rows
from gradcheck.checks.check import CUSTOM, DERIVATIVE, INPUTS, OUTPUTS, Check, Item
from gradcheck.diagnose.finding import seen_in
from gradcheck.findings import ERROR
from gradcheck.measure.gradients import gradient_at
from gradcheck.measure.lab import Lab
from gradcheck.measure.precision import Precision
from gradcheck.numerics.arrays import Array, Mask
from gradcheck.numerics.chunks import chunks_of
from gradcheck.numerics.closeness import close, largest
from gradcheck.numerics.packing import Slot
from gradcheck.numerics.random_streams import signed_uniform
from gradcheck.results import Finding, Skipped
from gradcheck.verdict.rounding import last_digits_moved
from gradcheck.verdict.tolerances import (
    COARSE,
    GATHERED_FLOOR,
    GATHERED_RTOL,
    HALF_SCALE,
    HALF_STEPS,
    LINEAR_FLOOR,
    LINEAR_NOTHING,
    LINEAR_ROUNDINGS,
    LINEAR_RTOL,
    LINEAR_SINGLE_ROUNDINGS,
    NOISE_DRAWS,
    NOISY,
    OWN_SCALE,
    ROUNDOFF,
    UNCHANGED_SHARE,
    UNSEEN_BY_HALF,
    WIDE_SCALE,
)
from gradcheck.ways import EAGER

ADDITIVE = "g(u + v) is not g(u) + g(v)"


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Check g(0)=0, g(-u)=-g(u), g(u+v)=g(u)+g(v), large and small u, and sparse upstreams."""
    blocked = {f.wrt for f in found if f.level == ERROR}
    sound = not any(f.level == ERROR for f in found)
    missing = next((need.otherwise for need in (INPUTS, OUTPUTS, DERIVATIVE) if not need.met(lab)), None)
    if missing is not None:
        yield Skipped("linearity: in the upstream", missing)
    else:
        for finding in _linearity(lab, blocked):
            sound = False
            yield finding
    if not lab.custom:
        yield Skipped("linearity: sparse and single upstreams", CUSTOM.otherwise)
    elif not sound:
        yield Skipped("linearity: sparse and single upstreams", "an error was found before")
    else:
        yield from _single_outputs(lab)
        yield from _sparse(lab)


CHECK = Check("linearity", "upstream", ask)


@dataclass(frozen=True, slots=True)
class _Laws:
    """Hold how far each law of a linear function is broken, a number per input; `bad`: NaN for an upstream of 0."""

    gaps: dict[str, list[float]]
    same_for_minus: list[float]
    same_for_double: list[float]
    bad: Mask

    def broken(self, number: int, allowed: float) -> list[str]:
        """Return the laws that an input breaks."""
        return [law for law, gap in self.gaps.items() if gap[number] > allowed]

    def ignores(self, number: int, tolerance: float) -> bool:
        """Return whether an input's gradient is the same whatever the upstream is."""
        return max(self.same_for_double[number], self.same_for_minus[number]) <= tolerance


def _linearity(lab: Lab, blocked: set[str | None]) -> Iterator[Finding]:
    precision, parts = lab.precision, lab.layout.inputs.ranges()
    u, at_u = precision.point.cotangent, lab.gradient

    def g(cotangent: Array) -> Array:
        return gradient_at(lab, precision.point.with_cotangent(cotangent))

    # What computes in float32 somewhere rounds so, whatever goes in.
    single = 0.0 if precision.op.all_double() else LINEAR_SINGLE_ROUNDINGS * ROUNDOFF["float32"]
    tolerance = max(LINEAR_RTOL, LINEAR_ROUNDINGS * precision.op.roundoff, single)
    noise = _noise(lab, precision, at_u)
    laws = _laws(lab, g, noise / tolerance, 1.0 if single else LINEAR_FLOOR)
    for number, (slot, part) in enumerate(zip(lab.slots, parts, strict=True)):
        if slot.name in blocked:
            continue
        if laws.ignores(number, tolerance):
            if np.any(np.abs(at_u[part]) > noise):
                yield _ignores(slot.name)
            continue
        if laws.bad[part].any():
            yield _nan_at_zero(slot, laws.bad[part])
            continue
        broken = laws.broken(number, tolerance)
        if broken and _coarse(g, u, at_u, part):
            broken = laws.broken(number, COARSE)
        if broken == [ADDITIVE] and (lab.rounds_to_half or precision.op.halves) and _adds_up(lab, g, part):
            continue
        if broken and not _only_rounding(lab, precision, at_u, part):
            yield _nonlinear(slot.name, broken)


def _laws(lab: Lab, g: Callable[[Array], Array], noise: float, least: float) -> _Laws:
    """Return how far the gradient is from a linear function of its upstream.

    A number per input is kept of each law, not the gradients: of a large input few fit beside each other.
    """
    precision, parts = lab.precision, lab.layout.inputs.ranges()
    u = precision.point.cotangent
    v = precision.on_alive(signed_uniform(lab.rng("upstream"), u.size))
    at_u, at_v = lab.gradient, g(v)
    # Sums leave roundings of the largest terms in the smallest results.
    floors = [least * _largest_sum(at_u[part], at_v[part]) + noise for part in parts]

    def gaps(found: Array, wanted: Callable[[slice], Array]) -> list[float]:
        return [_gap(found, wanted, at_u, at_v, part, floor) for part, floor in zip(parts, floors, strict=True)]

    found = g(0 * u)
    bad = _nan_for_zero(lab, precision, found, at_u)
    laws = {"g(0) is not 0": gaps(found, lambda s: 0 * at_u[s])}
    found = g(-u)
    laws["g(-u) is not -g(u)"] = gaps(found, lambda s: -at_u[s])
    same_for_minus = gaps(found, lambda s: at_u[s])
    del found
    same_for_double = gaps(g(2 * u), lambda s: at_u[s])
    laws[ADDITIVE] = gaps(g(u + v), lambda s: at_u[s] + at_v[s])
    for factor in _reach(lab, precision):
        found = g(factor * u)
        found /= factor
        laws[f"g({factor:g} u) is not {factor:g} g(u)"] = gaps(found, lambda s: at_u[s])
        del found
    return _Laws(laws, same_for_minus, same_for_double, bad)


def _adds_up(lab: Lab, g: Callable[[Array], Array], part: slice) -> bool:
    """Return whether a gradient is additive for upstreams that half precision adds without rounding."""
    rng, size = lab.rng("upstreams of few digits"), lab.precision.point.cotangent.size
    u, v = (lab.precision.on_alive(np.round(HALF_STEPS * signed_uniform(rng, size)) / HALF_STEPS) for _ in range(2))
    at_u, at_v, at_both = g(u), g(v), g(u + v)
    floor = _largest_sum(at_u[part], at_v[part])
    return _gap(at_both, lambda s: at_u[s] + at_v[s], at_u, at_v, part, floor) <= COARSE


def _reach(lab: Lab, precision: Precision) -> tuple[float, float]:
    """Return a large and a small factor of the upstream: loss scaling and means reach far, half precision does not."""
    if not precision.op.wide:
        return OWN_SCALE, 1 / OWN_SCALE
    if lab.rounds_to_half or precision.op.halves:
        return HALF_SCALE, 1 / HALF_SCALE
    return WIDE_SCALE, 1 / WIDE_SCALE


def _noise(lab: Lab, precision: Precision, at_u: Array) -> float:
    """Return what counts as zero: a gradient that is zero but for rounding has the size of the sum, not its own."""
    if precision.op.wide:
        return LINEAR_NOTHING * max(largest(at_u), largest(precision.point.cotangent))
    return max(LINEAR_ROUNDINGS * precision.op.roundoff * largest(at_u), lab.noise.most_gradient)


def _only_rounding(lab: Lab, precision: Precision, at_u: Array, part: slice) -> bool:
    """Return whether a gradient is no larger than what rounding leaves of it: all of its terms cancel."""
    rng, point, unit = lab.rng("upstream rounding"), precision.point, 2 * precision.op.roundoff
    left = 0.0
    for _ in range(NOISE_DRAWS):
        x, cotangent = (last_digits_moved(values, unit, rng) for values in (point.x, point.cotangent))
        # An op may refuse what is beside a valid input.
        with refusals():
            left = max(left, largest(precision.op.gradient(point.clipped(x), cotangent)[part] - at_u[part]))
    return largest(at_u[part]) <= NOISY * left


def _coarse(g: Callable[[Array], Array], u: Array, at_u: Array, part: slice) -> bool:
    """Return whether the gradient is rounded to half precision inside: it stays as it is for upstreams close by."""
    near = g(u * (1 + UNSEEN_BY_HALF))[part]
    alive = at_u[part] != 0
    return bool(alive.any() and np.mean(near[alive] == at_u[part][alive]) > UNCHANGED_SHARE)


def _largest_sum(a: Array, b: Array) -> float:
    """Return the largest finite |a| + |b|."""
    sums = (np.abs(a[part]) + np.abs(b[part]) for part in chunks_of(a.size))
    return max((float(np.max(s, where=np.isfinite(s), initial=0.0)) for s in sums), default=0.0)


def _gap(found: Array, wanted: Callable[[slice], Array], at_u: Array, at_v: Array, part: slice, floor: float) -> float:
    """Return the largest difference in units of |g(u)| + |g(v)| + `floor`, where both are finite."""
    most = 0.0
    for piece in chunks_of(part.stop - part.start):
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


def _nan_for_zero(lab: Lab, precision: Precision, zero: Array, at_u: Array) -> NDArray[np.bool_]:
    """Return where a zero upstream gives NaN although forward and gradient are finite.

    Where the slope itself is infinite, 0 * inf is no mistake of the op; where the gradient is NaN for any upstream the
    comparison says so.
    """
    bad = ~np.isfinite(zero) & np.isfinite(at_u)
    return np.asarray(bad & lab.custom & bool(precision.alive.all()))


def _nan_at_zero(slot: Slot, bad: NDArray[np.bool_]) -> Finding:
    where = list(slot.where(int(np.argmax(bad))))
    return Finding(
        "gradient-nonfinite",
        f"the gradient of `{slot.name}` is NaN at {where} for a zero upstream (0 * inf, or 0 / 0)",
        hint="guard the denominator, not the result: y = tf.where(ok, x, 1.0), then divide (the double where)",
        wrt=slot.name,
    )


def _ignores(name: str) -> Finding:
    return Finding(
        "upstream-nonlinear",
        f"the gradient of `{name}` does not depend on the upstream gradient: twice the upstream gives the same",
        "ignores-upstream",
        hint="multiply the returned gradient by upstream",
        wrt=name,
    )


def _nonlinear(name: str, broken: Sequence[str]) -> Finding:
    return Finding(
        "upstream-nonlinear",
        f"the gradient of `{name}` is not linear in the upstream gradient: {'; '.join(broken)}",
        "nonlinear",
        hint="use upstream exactly once as a factor; declare clipping on purpose with `expected_vjp`",
        wrt=name,
    )


def _single_outputs(lab: Lab) -> Iterator[Finding]:
    """Take the gradient of one output alone: grad_fn must work when the others are not used."""
    slots = lab.layout.outputs.slots
    if len(slots) < 2:
        return
    for number in range(len(slots)):
        lab.recorder.clear()
        try:
            of_one_output(lab.gradients, lab.values, lab.upstream, number)
        except Exception as error:
            finding = finding_from(error, "gradient-error", lab.recorder)
            if own_fault(error):
                raise
            hint = finding.hint or "handle None for the upstream of an output that is not used"
            message = f"when only output {number} is used: {finding.message}"
            yield seen_in(EAGER, replace(finding, message=message, hint=hint, wrt=None))
            return


def _sparse(lab: Lab) -> Iterator[Finding]:
    """Put tf.gather after the op, as an embedding does: its upstream is tf.IndexedSlices."""
    floating = [(i, o) for i, o in enumerate(lab.outputs) if np.ndim(o) and np.shape(o)[0] and floating_arrays([o])]
    if not floating or not lab.sources or lab.random:
        return
    position, output = floating[0]
    rows = [0, int(np.shape(output)[0]) - 1, 0]
    wanted = refused(lambda: of_rows(lab.gradients, lab.values, output, position, rows, thick=True))
    if wanted is None:
        return
    try:
        got = of_rows(lab.gradients, lab.values, output, position, rows, thick=False)
    except Exception as error:
        if own_fault(error):
            raise
        yield _sparse_finding(
            f"it fails when the upstream is tf.IndexedSlices (as after tf.gather): {first_line(error)}"
        )
        return
    if lab.case.expected_vjp:
        return
    for leaf, a, b in zip(lab.sources, wanted, got, strict=True):
        if a is not None and b is not None and not (np.isfinite(a).all() and np.isfinite(b).all()):
            continue
        same = (a is None) == (b is None) and (a is None or np.shape(a) == np.shape(b))
        if not same or (a is not None and not close(b, a, GATHERED_RTOL, GATHERED_FLOOR * largest(a))):
            yield _sparse_finding(f"the gradient of `{lab.leaves[leaf].name}` is wrong for tf.IndexedSlices")
            return


def _sparse_finding(message: str) -> Finding:
    hint = "begin grad_fn with upstream = tf.convert_to_tensor(upstream)"
    return seen_in(EAGER, Finding("sparse-upstream", message, hint=hint))
