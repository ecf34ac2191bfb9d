"""Gather the evidence for a diagnosis: other inputs, outputs one by one, further draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.autodiff.coordinates import Slot
from gradcheck.autodiff.reference import Reference
from gradcheck.autodiff.subject import Subject
from gradcheck.autodiff.terms import terms_of
from gradcheck.checks.coverage import EVERYTHING
from gradcheck.checks.gradients import autodiff_at, main_reference, other_reference, tolerance_of
from gradcheck.checks.verdicts import SlotVerdict
from gradcheck.numerics.assess import Outcome, assess
from gradcheck.numerics.diagnose import conjugate, diagnose
from gradcheck.numerics.evidence import Diagnosis, Evidence, Trial
from gradcheck.numerics.ladder import Array

TRIALS = 4
TRIAL_LIMIT = 256
# Entries that stand for a large input.
SAMPLED = 16
# Relative gaps to autodiff: rounding in float64, and plainly wrong.
SAME, CLEARLY = 1e-9, 1e-2
# Of the usual relative error, what is little.
FAINT = 1e-2
# Beside the largest, what is as good as zero.
VANISHING = 1e-6

# Where a gradient is wrong, right, and wrong by little.
Judged = tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]


def diagnosis_of(subject: Subject, verdict: SlotVerdict, verdicts: Sequence[SlotVerdict]) -> Diagnosis:
    """Return the cause of a wrong gradient."""
    usable = np.isfinite(verdict.reference) & np.isfinite(verdict.gradient)
    if verdict.slot.complex and _is_conjugate(subject, verdict):
        return Diagnosis(
            "conjugate",
            "for a real upstream the gradient is the complex conjugate of the reference",
            "TensorFlow's gradient of f is upstream * conj(df/dz): take tf.math.conj of the derivative",
        )
    tensors = _shaped(verdict.slot)
    return diagnose(
        Evidence(
            gradient=tensors(verdict.gradient),
            reference=tensors(verdict.reference),
            wrong=tensors(verdict.wrong),
            usable=tensors(usable),
            labels=tensors(verdict.label),
            output_shapes=tuple(slot.shape for slot in subject.layout.outputs.slots),
            others={
                v.slot.name: (_shaped(v.slot)(v.gradient), _shaped(v.slot)(v.reference))
                for v in verdicts
                if v is not verdict and v.slot.shape == verdict.slot.shape and v.slot.complex == verdict.slot.complex
            },
            terms=_terms(subject, verdict),
            outputs=_by_output(subject, verdict),
            trials=_trials(subject, verdict),
            diagonal=_diagonal(subject, verdict),
            upstream=_same_shape_upstream(subject, verdict.slot),
            complex=verdict.slot.complex and verdict.slot.plain,
            reaches=_reaches(subject, verdict),
            patterns=_patterns(subject, verdict),
        )
    )


def _shaped(slot: Slot) -> Callable[[Any], Any]:
    """Return what gives packed coordinates the shape of the tensor; a complex one gets a last axis of two."""
    index = slot.index
    if index is not None:
        return lambda array: _spread(np.asarray(array), index).reshape(slot.shape)
    if slot.complex:
        return lambda array: _as_pairs(np.asarray(array)).reshape(*slot.shape, 2)
    return lambda array: np.asarray(array).reshape(slot.shape)


def _spread(array: Any, index: Any) -> Any:
    """Return the entries of a structured matrix from its free ones, zero where it is fixed."""
    return np.where(index >= 0, array[index], np.zeros(1, array.dtype))


def _same_shape_upstream(subject: Subject, slot: Slot) -> Array | None:
    outputs = subject.layout.outputs.slots
    if len(outputs) != 1 or outputs[0].shape != slot.shape or slot.complex or outputs[0].complex:
        return None
    return np.asarray(subject.upstream[0], np.float64)


def _is_conjugate(subject: Subject, verdict: SlotVerdict) -> bool:
    """Return whether a real upstream gives the conjugate of the finite difference."""
    reference = main_reference(subject)
    outputs = subject.layout.outputs
    real = [u.real if slot.complex else u for u, slot in zip(subject.upstream, outputs.slots, strict=True)]
    point = reference.point.with_cotangent(reference.on_alive(outputs.pack(real)))
    gradient = reference.realm.gradient(point.x, point.cotangent)
    rng, size = subject.rng("conjugate"), verdict.slot.size
    entries = np.arange(size)
    if not _cheap(subject, verdict.slot):
        entries = rng.choice(size, min(size, SAMPLED), replace=False)
    coordinates = verdict.part.start + np.concatenate([entries, size + entries])
    found = assess(point, gradient, tolerance_of(subject, reference), rng, coordinates, reference.trusted)
    g, r = _as_pairs(gradient[coordinates]), _as_pairs(found.value)
    return conjugate(g, r, np.isfinite(g) & np.isfinite(r))


def _cheap(subject: Subject, slot: Slot) -> bool:
    """Return whether all elements of an input may be measured again and again."""
    return slot.width <= TRIAL_LIMIT and subject.cache.get("coverage", EVERYTHING).repeated


def _as_pairs(array: Array) -> Array:
    half = len(array) // 2
    return np.stack([array[:half], array[half:]], axis=-1)


def _terms(subject: Subject, verdict: SlotVerdict) -> list[Array]:
    if verdict.slot.complex or not verdict.slot.plain:
        return []
    return terms_of(subject, subject.plain(), subject.slots.index(verdict.slot))


def _by_output(subject: Subject, verdict: SlotVerdict) -> list[tuple[str, Array, Array]]:
    """Return gradient and reference for the upstream of each output alone."""
    outputs = subject.layout.outputs
    if len(outputs.slots) < 2 or not _cheap(subject, verdict.slot) or subject.case.expected_vjp:
        return []
    reference = main_reference(subject)
    rows = []
    for number, part in enumerate(outputs.ranges()):
        cotangent = np.zeros(outputs.width)
        cotangent[part] = reference.point.cotangent[part]
        point = reference.point.with_cotangent(cotangent)
        try:
            gradient = reference.realm.gradient(point.x, cotangent)
        except Exception:
            return []
        rng = subject.rng("one output", str(number))
        coordinates = np.arange(point.x.size)[verdict.part]
        found = assess(point, gradient, tolerance_of(subject, reference), rng, coordinates, reference.trusted)
        shaped = _shaped(verdict.slot)
        right = np.where(np.isfinite(found.value), found.value, gradient[verdict.part])
        rows.append((f"output {number}", shaped(gradient[verdict.part]), shaped(right)))
    return rows


def _trials(subject: Subject, verdict: SlotVerdict) -> list[Trial]:
    """Check the gradient at further draws of this input, to tell a range of values from a place."""
    shaped = _shaped(verdict.slot)
    judged = _told_apart(subject, verdict.wrong, ~verdict.wrong, verdict.gradient, verdict.autodiff)
    own = Trial(shaped(verdict.point), *(shaped(mask) for mask in judged))
    slot = verdict.slot
    if not _cheap(subject, slot) or subject.case.expected_vjp or not slot.plain:
        return [own]
    measured = other_reference(subject) if subject.case.surrogate else None
    reference = main_reference(subject)
    spread = max(float(np.std(verdict.point)), 1e-3, float(np.max(np.abs(verdict.point), initial=0.0)) / 2)
    trials = [own]
    for number in range(TRIALS):
        rng = subject.rng("trial", str(number))
        moved = reference.point.x.copy()
        drawn = rng.choice(verdict.point, slot.width) * rng.uniform(0.5, 1.5, slot.width)
        if number % 2:
            drawn = float(np.median(verdict.point)) + spread * rng.normal(size=slot.width)
        # What a domain does not hold is drawn anew inside: its edge is a place of its own.
        inside = (drawn > slot.low) & (drawn < slot.high)
        moved[verdict.part] = np.where(inside, drawn, verdict.point)
        found = _judged_at(subject, verdict, moved, rng, measured)
        if found is not None:
            trials.append(Trial(shaped(moved[verdict.part]), *(shaped(mask) for mask in found)))
    return trials


def _told_apart(
    subject: Subject, wrong: NDArray[np.bool_], right: NDArray[np.bool_], gradient: Array, autodiff: Array | None
) -> Judged:
    """Return where a gradient is wrong, however small, right and not only nearly so, and wrong by little."""
    if autodiff is None:
        return wrong, right & ~wrong, wrong & False
    with np.errstate(all="ignore"):
        gap, size = np.abs(gradient - autodiff), np.fmax(np.abs(gradient), np.abs(autodiff))
        # The op's constants stay rounded when it is promoted, and a formula may use others than the forward.
        same = max(SAME, 64 * main_reference(subject).realm.constants_roundoff)
        rounding = same * (size + 1e-3 * np.nanmax(size, initial=0.0))
        wrong = wrong | (gap > np.fmax(CLEARLY * size, rounding))
        relative = gap[wrong] / size[wrong]
        faint = wrong.copy()
        faint[wrong] = relative < FAINT * np.median(relative) if relative.size else False
        # Where both vanish, however far apart beside themselves, any formula is right.
        vanishing = (size <= VANISHING * np.nanmax(size, initial=0.0)) & (gap > CLEARLY * size)
        return wrong, np.asarray(~wrong & (gap <= rounding) & ~vanishing), faint


def _patterns(subject: Subject, verdict: SlotVerdict) -> dict[str, Array]:
    """Return what a missing sum over an axis may be multiplied with."""
    slot, outputs = verdict.slot, subject.layout.outputs.slots
    if slot.complex or not slot.plain or not slot.shape:
        return {}
    x = verdict.point.reshape(slot.shape)
    patterns = {"the same for all": np.ones(slot.shape), "the input": x}
    if len(outputs) == 1 and outputs[0].shape == slot.shape and not outputs[0].complex and outputs[0].plain:
        y = main_reference(subject).point.y.reshape(slot.shape)
        with np.errstate(all="ignore"):
            patterns |= {"the output": y, "the exponential of the output": np.exp(np.minimum(y, 700.0))}
    vector, ranges = main_reference(subject).point.x, subject.layout.inputs.ranges()
    for other, part in zip(subject.slots, ranges, strict=True):
        if other.name != slot.name and other.shape == slot.shape and other.plain and not other.complex:
            patterns[f"`{other.name}`"] = vector[part].reshape(other.shape)
    return patterns


def _reaches(subject: Subject, verdict: SlotVerdict) -> bool:
    """Return whether some change of the input moves an output."""
    point = main_reference(subject).point
    rng = subject.rng("reaches")
    rows = np.repeat(point.x[None], 2 * TRIALS, axis=0)
    for number, row in enumerate(rows):
        # A threshold at zero is crossed by a change of sign alone; a domain may not allow one.
        signs = np.sign(verdict.point) if number % 2 else rng.choice([-1.0, 1.0], verdict.point.size)
        drawn = signs * rng.uniform(0.1, 10.0, verdict.point.size) + rng.normal()
        row[verdict.part] = np.clip(drawn, verdict.slot.low, verdict.slot.high)
    try:
        values = point.evaluate(rows)
        return bool(np.any((values != point.y) & np.isfinite(values)))
    except Exception:
        return True


def _judged_at(
    subject: Subject, verdict: SlotVerdict, x: Array, rng: np.random.Generator, measured: Reference | None
) -> Judged | None:
    """Return where the gradient is wrong at x, where it is right, and where it is wrong by little."""
    reference = main_reference(subject)
    source = measured or reference
    try:
        values = source.point.evaluate(x[None])[0]
        gradient = reference.realm.gradient(x, reference.point.cotangent)
    except Exception:
        return None
    if not np.isfinite(values).all():
        return None
    point = source.point.elsewhere(x, values, reference.point.cotangent, rng)
    coordinates = np.arange(x.size)[verdict.part]
    autodiff = autodiff_at(subject, reference, replace(reference.point, x=x)) if measured is None else None
    found = assess(
        point, gradient, tolerance_of(subject, reference), rng, coordinates, source.trusted, witness=autodiff
    )
    part = gradient[verdict.part]
    wrong = np.asarray((found.outcome == Outcome.WRONG) | (~np.isfinite(part) & np.isfinite(found.value)))
    return _told_apart(
        subject, wrong, found.outcome == Outcome.AGREES, part, None if autodiff is None else autodiff[verdict.part]
    )


def _diagonal(subject: Subject, verdict: SlotVerdict) -> Array | None:
    """Return v_i dy_i/dx_i where input and output have one shape, None otherwise."""
    slot, outputs = verdict.slot, subject.layout.outputs
    plain = slot.plain and not slot.complex
    if len(outputs.slots) != 1 or outputs.slots[0].shape != slot.shape or not plain or not _cheap(subject, slot):
        return None
    reference = main_reference(subject)
    rng = subject.rng("diagonal")
    values = np.zeros(slot.width)
    for i in range(slot.width):
        cotangent = np.zeros(outputs.width)
        cotangent[i] = reference.point.cotangent[i]
        point = reference.point.with_cotangent(cotangent)
        coordinates = np.arange(point.x.size)[verdict.part][i : i + 1]
        found = assess(point, np.zeros(point.x.size), tolerance_of(subject, reference), rng, coordinates, False)
        values[i] = found.value[0]
    return values.reshape(slot.shape)
