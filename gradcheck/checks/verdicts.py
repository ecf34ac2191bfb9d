"""Bring analytic gradient, autodiff and finite differences together, once per subject."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gradcheck.autodiff.coordinates import Slot
from gradcheck.autodiff.reference import Reference
from gradcheck.autodiff.subject import Subject
from gradcheck.checks.coverage import coverage_of
from gradcheck.checks.gradients import (
    autodiff_at,
    expected_vjp,
    gradient_at,
    main_gradient,
    main_reference,
    other_reference,
    surrogate_stops,
    tolerance_of,
)
from gradcheck.numerics.assess import Assessment, Outcome, Tolerance, assess
from gradcheck.numerics.differences import long_slopes, slopes_along
from gradcheck.numerics.directional import AUTODIFF_NOISE, CONTESTED, assess_along_directions
from gradcheck.numerics.ladder import Array, Label
from gradcheck.numerics.parts import parts_of
from gradcheck.numerics.point import Point

ASSIGNED = "autodiff at the value that the op assigns to it"
# How far gradient and autodiff may be apart; roundoffs that they may be in any case.
AUTODIFF_RTOL, AUTODIFF_LEAST = 1e-4, 256
SAME_RTOL = 1e-6
# How close a gradient has to be to the slopes over long steps.
LONG_RTOL = 0.02
# Neighbours that are looked at, how close they are, and how far apart gradients at a tie are.
NEIGHBOURS, NEAR, WIDE_APART = 12, 1e-8, 1e-2


@dataclass(frozen=True, slots=True)
class SlotVerdict:
    """Hold the three gradients of one input in packed coordinates, and what they say.

    `value` is the finite difference with bound `error`; `reference` is what the gradient is
    held against (the finite difference where it decided, autodiff elsewhere); `expected` names
    what stands for both where the user declared a gradient.
    """

    slot: Slot
    part: slice
    point: Array
    gradient: Array
    autodiff: Array | None
    value: Array
    error: Array
    reference: Array
    tolerance: Array
    outcome: NDArray[np.int8]
    label: NDArray[np.int8]
    wrong: NDArray[np.bool_]
    nonfinite: NDArray[np.bool_]
    agrees_with_autodiff: NDArray[np.bool_]
    missing: bool
    expected: str

    @property
    def decided(self) -> NDArray[np.bool_]:
        """Return the elements at which the finite difference decided."""
        return np.asarray(self.outcome != Outcome.UNDECIDED)

    @property
    def abs_error(self) -> Array:
        """Return |gradient - reference|."""
        return _errors(self.gradient, self.reference)[0]

    @property
    def rel_error(self) -> Array:
        """Return the error relative to the reference (to the gradient where that is 0)."""
        return _errors(self.gradient, self.reference)[1]

    def worst(self) -> tuple[float, float]:
        """Return the largest absolute and relative error of what was decided and is a number."""
        absolute = relative = 0.0
        for part in parts_of(self.gradient.size):
            kept = (self.outcome[part] != Outcome.UNDECIDED) & ~self.nonfinite[part]
            errors = _errors(self.gradient[part], self.reference[part])
            absolute = max(absolute, float(np.max(errors[0], where=kept, initial=0.0)))
            relative = max(relative, float(np.max(errors[1], where=kept, initial=0.0)))
        return absolute, relative


def _errors(gradient: Array, reference: Array) -> tuple[Array, Array]:
    with np.errstate(all="ignore"):
        absolute = np.abs(gradient - reference)
        size = np.where(reference != 0, np.abs(reference), np.abs(gradient))
        return absolute, np.where(size > 0, absolute / size, 0.0)


def verdicts_of(subject: Subject) -> list[SlotVerdict]:
    """Return one verdict per differentiated input and variable."""
    return subject.once("verdicts", lambda: verdicts_with(subject, subject.cotangent, "sample"))  # type: ignore[no-any-return]


def verdicts_with(subject: Subject, cotangent: Array, stream: str) -> list[SlotVerdict]:
    """Return one verdict per differentiated input and variable for an upstream of one's own."""
    reference = main_reference(subject)
    point = reference.point.with_cotangent(reference.on_alive(cotangent))
    at_sample = cotangent is subject.cotangent
    gradient = main_gradient(subject) if at_sample else gradient_at(subject, reference, point)
    autodiff = autodiff_at(subject, reference, point)
    if subject.case.expected_vjp:
        expected = expected_vjp(subject, reference, point)
        assessment = _assess_expected(subject, reference, expected, gradient)
    elif autodiff is not None and surrogate_stops(subject):
        assessment = _assess_expected(subject, reference, autodiff, gradient)
    else:
        measured = point
        other = other_reference(subject)
        trusted = reference.trusted
        if other is not None and subject.case.surrogate:
            measured, trusted = other.point.with_cotangent(point.cotangent), other.trusted
        tolerance = tolerance_of(subject, reference)
        assessment = _assess(subject, measured, gradient, autodiff, tolerance, trusted, stream)
        if autodiff is not None:
            _measure_again(subject, measured, gradient, autodiff, assessment)
            tied = between_neighbours(subject, point, gradient, np.where(assessment.outcome == Outcome.WRONG)[0])
            assessment.outcome[tied], assessment.label[tied] = Outcome.AGREES, Label.KINK
    return _split(subject, point, gradient, autodiff, assessment)


def _assess(
    subject: Subject,
    point: Point,
    gradient: Array,
    autodiff: Array | None,
    tolerance: Tolerance,
    trusted: bool,
    stream: str,
) -> Assessment:
    rng = subject.rng("differences", stream)
    coverage = subject.once("coverage", lambda: coverage_of(subject.case.coverage, point, subject.case.timeout))
    if coverage.kind == "full":
        return assess(point, gradient, tolerance, rng, None, trusted, coverage.ladders, autodiff)
    return assess_along_directions(point, gradient, autodiff, tolerance, rng, trusted, coverage.ladders)


def _measure_again(subject: Subject, point: Point, gradient: Array, autodiff: Array, found: Assessment) -> None:
    """Take a difference anew where it stands alone against gradient and autodiff.

    Noise that looks smooth once (a chaotic forward) gives another slope at other steps; what rounds to float32
    inside, unseen, gives another one over long steps.
    """
    with np.errstate(all="ignore"):
        same = np.abs(gradient - autodiff) <= SAME_RTOL * np.fmax(np.abs(gradient), np.abs(autodiff))
    alone = np.where((found.outcome == Outcome.WRONG) & same)[0][:CONTESTED]
    slopes = slopes_along(point, alone, subject.rng("again"))
    for i, slope in zip(alone, slopes, strict=True):
        gap = abs(slope.value - found.value[i])
        if not gap <= slope.error + found.error[i] + 1e-3 * abs(found.value[i]):
            found.outcome[i], found.label[i] = Outcome.UNDECIDED, Label.NOISY
    if alone.size:
        with np.errstate(all="ignore"):
            near = np.abs(long_slopes(point, alone) - gradient[alone]) <= LONG_RTOL * np.abs(gradient[alone])
        rounded = alone[near.all(axis=0)]
        found.outcome[rounded], found.label[rounded] = Outcome.UNDECIDED, Label.NOISY


def between_neighbours(
    subject: Subject, point: Point, gradient: Array, coordinates: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return those coordinates at which the gradient lies between autodiff's at points very close by.

    Where values tie, each coordinate alone may show no slope at all (the median of three equal
    numbers), and still the limit of the gradients from any side is right (Clarke, 1983).
    """
    if not coordinates.size or not main_reference(subject).realm.wide:
        return np.zeros(0, np.int64)
    rng = subject.rng("neighbours")
    found = []
    for _ in range(NEIGHBOURS):
        step = NEAR * point.sizes * rng.uniform(-1.0, 1.0, point.x.size)
        autodiff = autodiff_at(subject, main_reference(subject), replace(point, x=point.x + step))
        if autodiff is not None:
            found.append(autodiff[coordinates])
    if not found:
        return np.zeros(0, np.int64)
    low, high, g = np.min(found, axis=0), np.max(found, axis=0), gradient[coordinates]
    with np.errstate(all="ignore"):
        # Close neighbours of a smooth point agree, and say nothing new.
        apart = high - low > WIDE_APART * np.fmax(np.abs(low), np.abs(high))
        margin = SAME_RTOL * np.fmax(np.abs(low), np.abs(high))
        return np.asarray(coordinates[apart & (g >= low - margin) & (g <= high + margin)])


def _assess_expected(subject: Subject, reference: Reference, expected: Array, gradient: Array) -> Assessment:
    """Hold the gradient against one that was declared."""
    tolerance = tolerance_of(subject, reference).at(gradient, expected, np.abs(expected))
    with np.errstate(invalid="ignore"):
        same = (np.abs(gradient - expected) <= tolerance) | (np.isnan(gradient) & np.isnan(expected))
    zeros = np.zeros(gradient.size)
    outcome = np.where(same, Outcome.AGREES, Outcome.WRONG).astype(np.int8)
    label = np.full(gradient.size, Label.SMOOTH, np.int8)
    return Assessment(outcome, label, expected, zeros, expected, expected, tolerance, np.abs(expected))


def _split(
    subject: Subject, point: Point, gradient: Array, autodiff: Array | None, assessment: Assessment
) -> list[SlotVerdict]:
    missing = subject.eager.gradients if subject.eager else [0] * len(subject.slots)
    return [
        _of_slot(subject, slot, part, point, gradient, autodiff, assessment, own is None)
        for slot, part, own in zip(subject.slots, subject.layout.inputs.ranges(), missing, strict=True)
    ]


def _of_slot(
    subject: Subject,
    slot: Slot,
    part: slice,
    point: Point,
    gradient: Array,
    autodiff: Array | None,
    assessment: Assessment,
    missing: bool,
) -> SlotVerdict:
    g, a, s = gradient[part], None if autodiff is None else autodiff[part], assessment.at(part)
    declared = _declared(subject)
    if a is not None and not declared and _assigned_before_use(subject, slot, a, s):
        declared, s = ASSIGNED, _assess_expected(subject, main_reference(subject), a, g)
    rtol = _autodiff_rtol(subject)
    agrees, wrong, nonfinite = (np.zeros(g.size, bool) for _ in range(3))
    pieces = list(parts_of(g.size))
    if a is not None:
        for piece in pieces:
            agrees[piece] = _agree(g[piece], a[piece], s.tolerance[piece], rtol)
    # Autodiff alone accuses only where finite differences never contradicted it.
    trusted = a is not None and not np.any((s.outcome == Outcome.AGREES) & ~agrees & np.isfinite(a))
    noise, sizes = AUTODIFF_NOISE * point.output_size, point.sizes[part]
    for piece in pieces:
        here = s.at(piece)
        nonfinite[piece] = ~np.isfinite(g[piece]) & _slope_is_finite(here)
        wrong[piece] = (here.outcome == Outcome.WRONG) & np.isfinite(g[piece])
        if a is not None:
            if trusted:
                strict = rtol < AUTODIFF_RTOL
                by_autodiff = _accused_by_autodiff(g[piece], a[piece], here, noise / sizes[piece], strict)
                wrong[piece] |= by_autodiff & ~agrees[piece]
            wrong[piece] &= ~_outweighed(g[piece], a[piece], here, subject.rounds_to_half)
    return SlotVerdict(
        slot, part, point.x[part], g, a, s.value, s.error, _held_against(g, a, s), s.tolerance, s.outcome, s.label,
        wrong, nonfinite, agrees, missing, declared,
    )  # fmt: skip


def _assigned_before_use(subject: Subject, slot: Slot, autodiff: Array, s: Assessment) -> bool:
    """Return whether the op assigns to a variable and then reads it: its old value has another slope, or none."""
    if slot.name not in subject.state_changed:
        return False
    return not _agree(autodiff, s.value, s.tolerance + s.error).all()


def _autodiff_rtol(subject: Subject) -> float:
    """Return how far gradient and autodiff may be apart: as the user says, but for rounding."""
    if subject.case.rtol is None and subject.case.atol is None:
        return AUTODIFF_RTOL
    realm = main_reference(subject).realm
    least = AUTODIFF_LEAST * max(realm.roundoff, realm.constants_roundoff)
    return min(AUTODIFF_RTOL, max(subject.case.rtol or 0.0, least))


def _agree(g: Array, a: Array, tolerance: Array, rtol: float = AUTODIFF_RTOL) -> NDArray[np.bool_]:
    with np.errstate(all="ignore"):
        return np.asarray(np.abs(g - a) <= np.fmax(tolerance, rtol * np.fmax(np.abs(g), np.abs(a))))


def _slope_is_finite(s: Assessment) -> NDArray[np.bool_]:
    odd = (Label.NONFINITE, Label.DOMAIN, Label.SINGULAR, Label.JUMP)
    return np.asarray(np.isfinite(s.value) & ~np.isin(s.label, odd))


def _accused_by_autodiff(g: Array, a: Array, s: Assessment, noise: Array, strict: bool) -> NDArray[np.bool_]:
    """Return where differences did not decide and autodiff is elsewhere by more than rounding explains.

    What rounding leaves of terms that cancel is no gradient of either.  `strict`: the user asks for more than
    a difference that is close can tell.
    """
    open_ones = (Label.SMOOTH, Label.NOISY, Label.FEW, Label.STAIRCASE, Label.FLAT)
    undecided = (s.outcome == Outcome.UNDECIDED) & np.isin(s.label, open_ones)
    with np.errstate(all="ignore"):
        apart = np.isfinite(a) & np.isfinite(g) & (np.abs(g - a) > noise)
    return np.asarray(undecided & apart & (strict | ~_surely(g, s.value, s.error)))


def _outweighed(g: Array, a: Array, s: Assessment, coarse: bool) -> NDArray[np.bool_]:
    """Return where gradient and autodiff together outweigh a difference that is not clearly elsewhere.

    They outweigh any where the op's constants were rounded to half precision (`coarse`): the forward's
    and the gradient's differ then.
    """
    with np.errstate(all="ignore"):
        same = np.abs(g - a) <= SAME_RTOL * np.fmax(np.abs(g), np.abs(a))
    return np.asarray((s.outcome == Outcome.WRONG) & same & (coarse | ~_far(g, s.value, s.error, s.tolerance)))


def _held_against(g: Array, a: Array | None, s: Assessment) -> Array:
    """Return what the gradient is held against: the difference, autodiff where that did not decide, NaN for nothing."""
    reference, undecided = s.value, s.outcome == Outcome.UNDECIDED
    unmeasured = undecided & (s.label == Label.UNMEASURED)
    if unmeasured.any():
        reference = np.where(unmeasured, np.nan, reference)
    if a is not None and (undecided & ~unmeasured).any():
        reference = np.where(undecided & ~unmeasured, a, reference)
    inside = (s.label == Label.KINK) & (s.outcome == Outcome.AGREES)
    return np.where(inside, g, reference) if inside.any() else reference


def _declared(subject: Subject) -> str:
    if subject.case.expected_vjp is not None:
        return "`expected_vjp`"
    if surrogate_stops(subject):
        return f"the autodiff gradient of `surrogate: {subject.case.surrogate}`"
    return ""


def _surely(g: Array, value: Array, error: Array) -> NDArray[np.bool_]:
    """Return where the finite difference, though wide, is close to the gradient."""
    with np.errstate(all="ignore"):
        return np.asarray((np.abs(g - value) <= error) & (error <= 0.1 * np.abs(value)))


def _far(g: Array, value: Array, error: Array, tolerance: Array) -> NDArray[np.bool_]:
    """Return where the difference contradicts gradient and autodiff together beyond doubt."""
    with np.errstate(all="ignore"):
        gap = np.abs(g - value)
        return np.asarray((gap > 10 * (tolerance + error)) & (gap > 1e-3 * np.fmax(np.abs(g), np.abs(value))))
