# SPDX-License-Identifier: Apache-2.0
"""The three gradients of an op at its sample, input by input, and which elements stay blamed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gradcheck.differences.assess import Assessment, Outcome, assess
from gradcheck.differences.ladder import Label
from gradcheck.differences.projections import AUTODIFF_NOISE, assess_along_directions
from gradcheck.differences.vector_function import Point
from gradcheck.measure.gradients import Declared, autodiff_at, expected_vjp, gradient_at, tolerance_of
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.chunks import chunks_of
from gradcheck.numerics.packing import Slot
from gradcheck.verdict.discrepancy import Discrepancy, Exemption
from gradcheck.verdict.exemptions import judge
from gradcheck.verdict.tolerances import AUTODIFF_ROUNDINGS, AUTODIFF_RTOL, SETTLED_RTOL, SPEAKS_FOR

if TYPE_CHECKING:
    from gradcheck.measure.lab import Lab

LOST = "the element reaches an output that is no number"
# Differences see through tf.stop_gradient.  Of a forward that holds a value fixed and has a gradient of its own, which
# was written for that forward, autodiff is what is meant.
HELD = "autodiff of the forward, in which tf.stop_gradient holds values fixed"
ASSIGNED = "autodiff at the value that the op assigns to it"
# What a difference may show where it cannot decide, and autodiff may accuse.
_OPEN = (Label.SMOOTH, Label.NOISY, Label.FEW, Label.STAIRCASE, Label.FLAT)
_SETTLED = (Label.SMOOTH, Label.FLAT, Label.EDGE, Label.KINK)
WITHOUT_SLOPE = (Label.NONFINITE, Label.DOMAIN, Label.SINGULAR, Label.JUMP)


@dataclass(frozen=True, slots=True)
class Measurement:
    """Hold the three gradients of one input in packed coordinates, and what they say.

    `value` is the finite difference with bound `error`; `wanted` is what the gradient is compared
    with (the finite difference where it decided, autodiff elsewhere); `declared` names what stands
    for both where the user declared a gradient; `exempted` are reasons not to blame elements; `lost`
    marks elements that reach an output which is no number; `exact` is the derivative in exact arithmetic.
    """

    slot: Slot
    part: slice
    point: Array
    gradient: Array
    autodiff: Array | None
    value: Array
    error: Array
    wanted: Array
    tolerance: Array
    outcome: NDArray[np.int8]
    label: NDArray[np.int8]
    wrong: NDArray[np.bool_]
    nonfinite: NDArray[np.bool_]
    agrees_with_autodiff: NDArray[np.bool_]
    missing: bool
    declared: str
    exempted: tuple[Exemption, ...]
    lost: NDArray[np.bool_]
    exact: Array | None = None

    @property
    def by_user(self) -> bool:
        """Return whether the user declared what the gradient is compared with."""
        return self.declared not in ("", HELD)

    @property
    def decided(self) -> NDArray[np.bool_]:
        """Return the elements at which the finite difference decided."""
        return np.asarray(self.outcome != Outcome.UNDECIDED)

    @property
    def abs_error(self) -> Array:
        """Return |gradient - wanted|."""
        return _errors(self.gradient, self.wanted)[0]

    @property
    def rel_error(self) -> Array:
        """Return the error relative to what is wanted (to the gradient where that is 0)."""
        return _errors(self.gradient, self.wanted)[1]

    def worst(self) -> tuple[float, float]:
        """Return the largest absolute and relative error of what was decided and is a number."""
        absolute = relative = 0.0
        for part in chunks_of(self.gradient.size):
            kept = (self.outcome[part] != Outcome.UNDECIDED) & ~self.nonfinite[part]
            errors = _errors(self.gradient[part], self.wanted[part])
            absolute = max(absolute, float(np.max(errors[0], where=kept, initial=0.0)))
            relative = max(relative, float(np.max(errors[1], where=kept, initial=0.0)))
        return absolute, relative


def _errors(gradient: Array, wanted: Array) -> tuple[Array, Array]:
    with np.errstate(all="ignore"):
        absolute = np.abs(gradient - wanted)
        size = np.where(wanted != 0, np.abs(wanted), np.abs(gradient))
        return absolute, np.where(size > 0, absolute / size, 0.0)


def measurements_with(lab: Lab, cotangent: Array, stream: str) -> list[Measurement]:
    """Return one measurement per differentiated input and variable for an upstream of one's own."""
    precision = lab.precision
    point = precision.point.with_cotangent(precision.on_alive(cotangent))
    gradient = lab.gradient if cotangent is lab.cotangent else gradient_at(lab, point)
    declared = _declared(lab, point, gradient)
    autodiff = autodiff_at(lab, point)
    usual: Assessment | None = None
    if declared is None or not declared.covers.all():
        measured, trusted = measured_at(lab, point), precision.trusted
        if lab.other is not None and lab.case.surrogate:
            trusted = lab.other.trusted
        usual = _assess(lab, measured, gradient, autodiff, trusted, stream)
    found = []
    for slot, part, own in zip(lab.slots, lab.layout.inputs.ranges(), lab.first.gradients, strict=True):
        is_declared = declared is not None and bool(declared.covers[part].all())
        if declared is not None and is_declared:
            assessment = _compared(lab, declared.gradient, gradient)
            # The autodiff of a forward says nothing of a gradient that is meant to be no derivative.
            witness = None if lab.case.expected_vjp else autodiff
            found.append(_of_slot(lab, slot, part, point, gradient, witness, assessment, own is None, True))
        else:
            assert usual is not None
            found.append(_of_slot(lab, slot, part, point, gradient, autodiff, usual, own is None, False))
    exact = lab.exact.reference if cotangent is lab.cotangent and lab.exact is not None else None
    return found if exact is None else [replace(m, exact=exact[m.part]) for m in found]


def _declared(lab: Lab, point: Point, gradient: Array) -> Declared | None:
    """Return the gradient that the case declares, None if differences of the op or its surrogate are meant.

    A variable whose gradient no grad_fn returns gets it from TensorFlow, through the rule that is declared.
    """
    if lab.case.expected_vjp:
        declared = expected_vjp(lab, point)
        wanted, covers = declared.gradient.copy(), declared.covers.copy()
        for slot, part in zip(lab.slots, lab.layout.inputs.ranges(), strict=True):
            if not covers[part].all() and not _has_rule(lab, slot.name):
                wanted[part], covers[part] = gradient[part], True
        return Declared(wanted, covers)
    if not (lab.surrogate_stops or lab.case.intended):
        return None
    autodiff = autodiff_at(lab, point)
    return None if autodiff is None else Declared(autodiff, np.ones(autodiff.size, bool))


def _assess(lab: Lab, point: Point, gradient: Array, autodiff: Array | None, trusted: bool, stream: str) -> Assessment:
    rng, tolerance = lab.rng("differences", stream), tolerance_of(lab, lab.precision)
    ladders = lab.coverage.ladders
    if lab.coverage.kind == "full":
        return assess(point, gradient, tolerance, rng, None, trusted, ladders, autodiff)
    return assess_along_directions(point, gradient, autodiff, tolerance, rng, trusted, ladders)


def _compared(lab: Lab, declared: Array, gradient: Array) -> Assessment:
    """Return the gradient compared with a declared one, in the words of a difference."""
    tolerance = tolerance_of(lab, lab.precision).at(gradient, declared, np.abs(declared))
    with np.errstate(invalid="ignore"):
        same = (np.abs(gradient - declared) <= tolerance) | (np.isnan(gradient) & np.isnan(declared))
    zeros = np.zeros(gradient.size)
    outcome = np.where(same, Outcome.AGREES, Outcome.WRONG).astype(np.int8)
    label = np.full(gradient.size, Label.SMOOTH, np.int8)
    return Assessment(outcome, label, declared, zeros, declared, declared, tolerance, np.abs(declared))


def _of_slot(
    lab: Lab,
    slot: Slot,
    part: slice,
    point: Point,
    gradient: Array,
    autodiff: Array | None,
    assessment: Assessment,
    missing: bool,
    is_declared: bool,
) -> Measurement:
    g, a, s = gradient[part], None if autodiff is None else autodiff[part], assessment.at(part)
    declared = _declared_by(lab) if is_declared else ""
    if a is not None and not declared and _assigned_before_use(lab, slot, a, s):
        declared, s = ASSIGNED, _compared(lab, a, g)
    if a is not None and not declared and _holds_fixed(lab, a, s):
        declared, s = HELD, _compared(lab, a, g)
    agrees = _agreeing(lab, g, a, s)
    accused = _accused(lab, slot, part, point, g, a, s, agrees)
    exempted: tuple[Exemption, ...] = ()
    if accused.any() and a is not None and not declared:
        coordinates = np.arange(part.start, part.stop)
        verdict = judge(Discrepancy(measured_at(lab, point), coordinates, g, s.value, accused, s, a), lab)
        accused, exempted, s = verdict.blamed, verdict.exemptions, verdict.marked(s)
    nonfinite = np.zeros(g.size, bool)
    for piece in chunks_of(g.size):
        nonfinite[piece] = ~np.isfinite(g[piece]) & _slope_is_finite(s.at(piece), None if a is None else a[piece])
    lost = _lost(lab, a, s)
    if (nonfinite & lost).any():
        exempted = (*exempted, Exemption(LOST, nonfinite & lost))
        nonfinite &= ~lost
    return Measurement(
        slot, part, point.x[part], g, a, s.value, s.error, _wanted(g, a, s), s.tolerance, s.outcome, s.label, accused,
        nonfinite, agrees, missing, declared, exempted, lost,
    )  # fmt: skip


def _lost(lab: Lab, a: Array | None, s: Assessment) -> NDArray[np.bool_]:
    """Return the elements that reach an output which is no number: there is no slope to compare with.

    No output that is a number moves with them, or TensorFlow's own gradient is none either.
    """
    if lab.precision.alive.all():
        return np.zeros(s.label.size, bool)
    flat = s.label == Label.FLAT
    return np.asarray(flat if a is None else flat | ~np.isfinite(a))


def measured_at(lab: Lab, point: Point) -> Point:
    """Return the function whose slopes are meant, at a point of the op: the op itself or its surrogate."""
    if lab.other is None or not lab.case.surrogate:
        return point
    return lab.other.point.with_cotangent(point.cotangent)


def _declared_by(lab: Lab) -> str:
    if lab.case.expected_vjp is not None:
        return "`expected_vjp`"
    if lab.case.surrogate is not None:
        return f"the autodiff gradient of `surrogate: {lab.case.surrogate}`"
    return f"autodiff of the forward that keeps the rules of {', '.join(lab.case.intended)} (`intended`)"


def _holds_fixed(lab: Lab, autodiff: Array, s: Assessment) -> bool:
    """Return whether tf.stop_gradient holds fixed what differences move; a library's changes nothing."""
    wrong = s.outcome == Outcome.WRONG
    return bool(lab.facts.holds and wrong.any()) and not _agree(autodiff, s.value, s.tolerance + s.error)[wrong].all()


def _assigned_before_use(lab: Lab, slot: Slot, autodiff: Array, s: Assessment) -> bool:
    """Return whether the op assigns to a variable and then reads it: its old value has another slope, or none."""
    if slot.name not in lab.state_changed:
        return False
    return not _agree(autodiff, s.value, s.tolerance + s.error).all()


def _agreeing(lab: Lab, g: Array, a: Array | None, s: Assessment) -> NDArray[np.bool_]:
    """Return where the gradient is what autodiff says."""
    agrees = np.zeros(g.size, bool)
    if a is not None:
        rtol = _autodiff_rtol(lab)
        for piece in chunks_of(g.size):
            agrees[piece] = _agree(g[piece], a[piece], s.tolerance[piece], rtol)
    return agrees


def _accused(
    lab: Lab,
    slot: Slot,
    part: slice,
    point: Point,
    g: Array,
    a: Array | None,
    s: Assessment,
    agrees: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Return where the gradient is not what differences say, or what autodiff says where they cannot decide."""
    accused = np.zeros(g.size, bool)
    strict = _autodiff_rtol(lab) < AUTODIFF_RTOL
    # Autodiff alone accuses only where finite differences never contradicted it.
    trusted = a is not None and not np.any((s.outcome == Outcome.AGREES) & ~agrees & np.isfinite(a))
    noise, sizes = AUTODIFF_NOISE * point.output_size, point.sizes[part]
    for piece in chunks_of(g.size):
        here = s.at(piece)
        accused[piece] = (here.outcome == Outcome.WRONG) & np.isfinite(g[piece])
        if a is not None and trusted:
            by_autodiff = _accused_by_autodiff(g[piece], a[piece], here, noise / sizes[piece], strict)
            accused[piece] |= by_autodiff & ~agrees[piece]
    return accused


def _autodiff_rtol(lab: Lab) -> float:
    """Return how far gradient and autodiff may be apart: as the user says, but for rounding."""
    if lab.case.rtol is None and lab.case.atol is None:
        return AUTODIFF_RTOL
    op = lab.precision.op
    least = AUTODIFF_ROUNDINGS * max(op.roundoff, op.constants_roundoff)
    return min(AUTODIFF_RTOL, max(lab.case.rtol or 0.0, least))


def _agree(g: Array, a: Array, tolerance: Array, rtol: float = AUTODIFF_RTOL) -> NDArray[np.bool_]:
    with np.errstate(all="ignore"):
        return np.asarray(np.abs(g - a) <= np.fmax(tolerance, rtol * np.fmax(np.abs(g), np.abs(a))))


def _slope_is_finite(s: Assessment, autodiff: Array | None) -> NDArray[np.bool_]:
    """Return where the slope is a number: differences settle, or are about autodiff's; a root's grow."""
    with np.errstate(all="ignore"):
        settled = np.isin(s.label, _SETTLED) & np.isfinite(s.error)
        settled |= s.error <= SETTLED_RTOL * np.abs(s.value)
        if autodiff is not None:
            size = np.fmax(np.abs(autodiff), np.abs(s.value))
            settled |= np.abs(autodiff - s.value) <= SPEAKS_FOR * size
    return np.asarray(np.isfinite(s.value) & ~np.isin(s.label, WITHOUT_SLOPE) & settled)


def _accused_by_autodiff(g: Array, a: Array, s: Assessment, noise: Array, strict: bool) -> NDArray[np.bool_]:
    """Return where differences did not decide and autodiff is elsewhere by more than rounding explains.

    What rounding leaves of terms that cancel is no gradient of either.  `strict`: the user asks for more than
    a difference that is close can show.
    """
    undecided = (s.outcome == Outcome.UNDECIDED) & np.isin(s.label, _OPEN)
    with np.errstate(all="ignore"):
        apart = np.isfinite(a) & np.isfinite(g) & (np.abs(g - a) > noise)
    return np.asarray(undecided & apart & (strict | ~_speaks_for(g, s.value, s.error)))


def _speaks_for(g: Array, value: Array, error: Array) -> NDArray[np.bool_]:
    """Return where the finite difference, though wide, is close to the gradient."""
    with np.errstate(all="ignore"):
        return np.asarray((np.abs(g - value) <= error) & (error <= SPEAKS_FOR * np.abs(value)))


def _wanted(g: Array, a: Array | None, s: Assessment) -> Array:
    """Return what the gradient is compared with: the difference, autodiff where that did not decide, NaN for neither.

    Inside a kink any slope between the one-sided ones will do, so that the gradient itself is wanted.
    """
    wanted, undecided = s.value, s.outcome == Outcome.UNDECIDED
    unmeasured = undecided & (s.label == Label.UNMEASURED)
    if unmeasured.any():
        wanted = np.where(unmeasured, np.nan, wanted)
    if a is not None and (undecided & ~unmeasured).any():
        wanted = np.where(undecided & ~unmeasured, a, wanted)
    inside = (s.label == Label.KINK) & (s.outcome == Outcome.AGREES)
    return np.where(inside, g, wanted) if inside.any() else wanted


def _has_rule(lab: Lab, variable: str) -> bool:
    """Return whether some grad_fn returned a gradient for a variable of this name."""
    named = {v.variable.name.split(":")[0] for v in lab.variables if v.name == variable}
    return any(note.variable and note.argument in named for note in lab.gradient_notes)
