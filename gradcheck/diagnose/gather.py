# SPDX-License-Identifier: Apache-2.0
"""Gather the evidence for a diagnosis: other inputs, outputs one by one, further draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.terms import terms_of
from gradcheck.diagnose.causes import diagnose
from gradcheck.diagnose.evidence import Diagnosis, Evidence, Trial, conjugate
from gradcheck.diagnose.regions import fades_away
from gradcheck.differences.assess import Outcome, assess
from gradcheck.measure.gradients import tolerance_of
from gradcheck.measure.lab import Lab
from gradcheck.measure.measurement import Measurement
from gradcheck.measure.precision import Precision
from gradcheck.numerics.arrays import AnyArray, Array
from gradcheck.numerics.packing import Slot
from gradcheck.verdict.tolerances import (
    CLEARLY,
    FAINT,
    LARGEST_EXPONENT,
    LEAST_SPREAD,
    PUSH_RANGE,
    REPEATED_ROUNDINGS,
    SAME_IN_FLOAT64,
    SAMPLED,
    SECOND_STEP,
    TRIAL_FACTORS,
    TRIAL_LIMIT,
    TRIALS,
    VANISHING,
    WEAK,
)

# Where a gradient is wrong, right, and wrong by little, and how far it is from autodiff.
Judged = tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_], Array]


def diagnosis_of(lab: Lab, measurement: Measurement, measurements: Sequence[Measurement]) -> Diagnosis:
    """Return the cause of a wrong gradient."""
    usable = np.isfinite(measurement.wanted) & np.isfinite(measurement.gradient)
    if measurement.slot.complex and _is_conjugate(lab, measurement):
        return Diagnosis(
            "conjugate",
            "for a real upstream the gradient is the complex conjugate of the reference",
            "TensorFlow's gradient of f is upstream * conj(df/dz): take tf.math.conj of the derivative",
        )
    tensors = _shaped(measurement.slot)
    return diagnose(
        Evidence(
            gradient=tensors(measurement.gradient),
            reference=tensors(measurement.wanted),
            wrong=tensors(measurement.wrong),
            usable=tensors(usable),
            labels=tensors(measurement.label),
            output_shapes=tuple(slot.shape for slot in lab.layout.outputs.slots),
            others={
                v.slot.name: (_shaped(v.slot)(v.gradient), _shaped(v.slot)(v.wanted))
                for v in measurements
                if v is not measurement
                and v.slot.shape == measurement.slot.shape
                and v.slot.complex == measurement.slot.complex
            },
            terms=_terms(lab, measurement),
            outputs=_by_output(lab, measurement),
            trials=_trials(lab, measurement),
            diagonal=_diagonal(lab, measurement),
            jvp=_jvp(lab, measurement),
            upstream=_same_shape_upstream(lab, measurement.slot),
            complex=measurement.slot.complex and measurement.slot.plain,
            reaches=_reaches(lab, measurement),
            patterns=_patterns(lab, measurement),
            given={leaf.name: np.asarray(lab.values[i]) for i, leaf in enumerate(lab.leaves) if i not in lab.sources},
        )
    )


def _like(a: Slot, b: Slot) -> bool:
    return a.shape == b.shape and a.complex == b.complex


def _shaped(slot: Slot) -> Callable[[Any], Any]:
    """Return what gives packed coordinates the shape of the tensor; a complex one gets a last axis of two."""
    index = slot.index
    if index is not None:
        return lambda array: _spread(np.asarray(array), index).reshape(slot.shape)
    if slot.complex:
        return lambda array: _as_pairs(np.asarray(array)).reshape(*slot.shape, 2)
    return lambda array: np.asarray(array).reshape(slot.shape)


def _spread(array: AnyArray, index: Any) -> Any:
    """Return the entries of a structured matrix from its free ones, zero where it is fixed."""
    return np.where(index >= 0, array[index], np.zeros(1, array.dtype))


def _same_shape_upstream(lab: Lab, slot: Slot) -> Array | None:
    outputs = lab.layout.outputs.slots
    if len(outputs) != 1 or outputs[0].shape != slot.shape or slot.complex or outputs[0].complex:
        return None
    return np.asarray(lab.upstream[0], np.float64)


def _is_conjugate(lab: Lab, measurement: Measurement) -> bool:
    """Return whether a real upstream gives the conjugate of the finite difference."""
    precision = lab.precision
    outputs = lab.layout.outputs
    real = [u.real if slot.complex else u for u, slot in zip(lab.upstream, outputs.slots, strict=True)]
    point = precision.point.with_cotangent(precision.on_alive(outputs.pack(real)))
    gradient = precision.op.gradient(point.x, point.cotangent)
    rng, size = lab.rng("conjugate"), measurement.slot.size
    entries = np.arange(size)
    if not _cheap(lab, measurement.slot):
        entries = rng.choice(size, min(size, SAMPLED), replace=False)
    coordinates = measurement.part.start + np.concatenate([entries, size + entries])
    found = assess(point, gradient, tolerance_of(lab, precision), rng, coordinates, precision.trusted)
    g, r = _as_pairs(gradient[coordinates]), _as_pairs(found.value)
    return conjugate(g, r, np.isfinite(g) & np.isfinite(r))


def _cheap(lab: Lab, slot: Slot) -> bool:
    """Return whether all elements of an input may be measured again and again."""
    return slot.width <= TRIAL_LIMIT and lab.may_repeat


def _as_pairs(array: Array) -> Array:
    half = len(array) // 2
    return np.stack([array[:half], array[half:]], axis=-1)


def _terms(lab: Lab, measurement: Measurement) -> list[Array]:
    if measurement.slot.complex or not measurement.slot.plain:
        return []
    return terms_of(lab.gradients, lab.plain(), lab.values, lab.upstream, lab.slots.index(measurement.slot))


def _by_output(lab: Lab, measurement: Measurement) -> list[tuple[str, Array, Array]]:
    """Return gradient and reference for the upstream of each output alone."""
    outputs = lab.layout.outputs
    if len(outputs.slots) < 2 or not _cheap(lab, measurement.slot) or lab.case.expected_vjp:
        return []
    precision = lab.precision
    rows = []
    for number, part in enumerate(outputs.ranges()):
        cotangent = np.zeros(outputs.width)
        cotangent[part] = precision.point.cotangent[part]
        point = precision.point.with_cotangent(cotangent)
        gradient = lab.gradient_near(point)
        if gradient is None:
            return []
        rng = lab.rng("one output", str(number))
        coordinates = np.arange(point.x.size)[measurement.part]
        found = assess(point, gradient, tolerance_of(lab, precision), rng, coordinates, precision.trusted)
        shaped = _shaped(measurement.slot)
        right = np.where(np.isfinite(found.value), found.value, gradient[measurement.part])
        rows.append((f"output {number}", shaped(gradient[measurement.part]), shaped(right)))
    return rows


def _trials(lab: Lab, measurement: Measurement) -> list[Trial]:
    """Check the gradient at further draws of this input, to tell a range of values from a place."""
    shaped = _shaped(measurement.slot)
    judged = _told_apart(lab, measurement.wrong, ~measurement.wrong, measurement.gradient, measurement.autodiff)
    own = Trial(shaped(measurement.point), *(shaped(mask) for mask in judged))
    slot = measurement.slot
    if not _cheap(lab, slot) or lab.case.expected_vjp or not slot.plain:
        return [own]
    measured = lab.other if lab.case.surrogate else None
    precision = lab.precision
    spread = max(
        float(np.std(measurement.point)), LEAST_SPREAD, float(np.max(np.abs(measurement.point), initial=0.0)) / 2
    )
    trials = [own]
    for number in range(TRIALS):
        rng = lab.rng("trial", str(number))
        moved = precision.point.x.copy()
        drawn = rng.choice(measurement.point, slot.width) * rng.uniform(*TRIAL_FACTORS, slot.width)
        if number % 2:
            drawn = float(np.median(measurement.point)) + spread * rng.normal(size=slot.width)
        # What a domain does not hold is drawn anew inside: its edge is a place of its own.
        inside = (drawn > slot.low) & (drawn < slot.high)
        moved[measurement.part] = np.where(inside, drawn, measurement.point)
        found = _judged_at(lab, measurement, moved, rng, measured)
        if found is not None:
            trials.append(Trial(shaped(moved[measurement.part]), *(shaped(mask) for mask in found)))
    return [replace(t, right=t.right & False) for t in trials] if fades_away(trials) else trials


def _told_apart(
    lab: Lab, wrong: NDArray[np.bool_], right: NDArray[np.bool_], gradient: Array, autodiff: Array | None
) -> Judged:
    """Return where a gradient is wrong, however small, right and not only nearly so, and wrong by little; the gaps."""
    if autodiff is None:
        return wrong, right & ~wrong, wrong & False, np.zeros(wrong.shape)
    with np.errstate(all="ignore"):
        gap, size = np.abs(gradient - autodiff), np.fmax(np.abs(gradient), np.abs(autodiff))
        # The op's constants stay rounded when it is promoted, and a formula may use others than the forward.
        same = max(SAME_IN_FLOAT64, REPEATED_ROUNDINGS * lab.precision.op.constants_roundoff)
        rounding = same * (size + WEAK * np.nanmax(size, initial=0.0))
        wrong = wrong | (gap > np.fmax(CLEARLY * size, rounding))
        relative = gap[wrong] / size[wrong]
        faint = wrong.copy()
        faint[wrong] = relative < FAINT * np.median(relative) if relative.size else False
        # Where both vanish, however far apart beside themselves, any formula is right.
        vanishing = (size <= VANISHING * np.nanmax(size, initial=0.0)) & (gap > CLEARLY * size)
        relative_to_all = gap / (size + WEAK * np.nanmax(size, initial=0.0))
        return wrong, np.asarray(~wrong & (gap <= rounding) & ~vanishing), faint, relative_to_all


def _patterns(lab: Lab, measurement: Measurement) -> dict[str, Array]:
    """Return what a missing sum over an axis may be multiplied with."""
    slot, outputs = measurement.slot, lab.layout.outputs.slots
    if slot.complex or not slot.plain or not slot.shape:
        return {}
    x = measurement.point.reshape(slot.shape)
    patterns = {"the same for all": np.ones(slot.shape), "the input": x}
    if len(outputs) == 1 and outputs[0].shape == slot.shape and not outputs[0].complex and outputs[0].plain:
        y = lab.precision.point.y.reshape(slot.shape)
        with np.errstate(all="ignore"):
            patterns |= {"the output": y, "the exponential of the output": np.exp(np.minimum(y, LARGEST_EXPONENT))}
    vector, ranges = lab.precision.point.x, lab.layout.inputs.ranges()
    for other, part in zip(lab.slots, ranges, strict=True):
        if other.name != slot.name and other.shape == slot.shape and other.plain and not other.complex:
            patterns[f"`{other.name}`"] = vector[part].reshape(other.shape)
    return patterns


def _reaches(lab: Lab, measurement: Measurement) -> bool:
    """Return whether some change of the input moves an output."""
    point = lab.precision.point
    rng = lab.rng("reaches")
    rows = np.repeat(point.x[None], 2 * TRIALS, axis=0)
    for number, row in enumerate(rows):
        # A threshold at zero is crossed by a change of sign alone; a domain may not allow one.
        signs = np.sign(measurement.point) if number % 2 else rng.choice([-1.0, 1.0], measurement.point.size)
        drawn = signs * rng.uniform(*PUSH_RANGE, measurement.point.size) + rng.normal()
        row[measurement.part] = np.clip(drawn, measurement.slot.low, measurement.slot.high)
    values = refused(lambda: point.evaluate(rows))
    return values is None or bool(np.any((values != point.y) & np.isfinite(values)))


def _judged_at(
    lab: Lab, measurement: Measurement, x: Array, rng: np.random.Generator, measured: Precision | None
) -> Judged | None:
    """Return where the gradient is wrong at x, where it is right, and where it is wrong by little."""
    precision = lab.precision
    source = measured or precision
    values = refused(lambda: source.point.evaluate(x[None])[0])
    gradient = lab.gradient_near(replace(precision.point, x=x))
    if values is None or gradient is None or not np.isfinite(values).all():
        return None
    point = source.point.elsewhere(x, values, precision.point.cotangent, rng)
    coordinates = np.arange(x.size)[measurement.part]
    autodiff = lab.autodiff(replace(precision.point, x=x)) if measured is None else None
    found = assess(point, gradient, tolerance_of(lab, precision), rng, coordinates, source.trusted, witness=autodiff)
    part = gradient[measurement.part]
    wrong = np.asarray((found.outcome == Outcome.WRONG) | (~np.isfinite(part) & np.isfinite(found.value)))
    return _told_apart(
        lab, wrong, found.outcome == Outcome.AGREES, part, None if autodiff is None else autodiff[measurement.part]
    )


def _jvp(lab: Lab, measurement: Measurement) -> Array | None:
    """Return the difference of the forward along the upstream, None where input and output have other shapes."""
    slot, upstream = measurement.slot, _same_shape_upstream(lab, measurement.slot)
    if upstream is None or not slot.plain:
        return None
    point = lab.precision.point
    step = SECOND_STEP * float(np.median(point.sizes[measurement.part]))
    rows = np.repeat(point.x[None], 2, axis=0)
    rows[0, measurement.part] += step * upstream.ravel()
    rows[1, measurement.part] -= step * upstream.ravel()
    values = refused(lambda: point.evaluate(point.clipped(rows)))
    return None if values is None else ((values[0] - values[1]) / (2 * step)).reshape(slot.shape)


def _diagonal(lab: Lab, measurement: Measurement) -> Array | None:
    """Return v_i dy_i/dx_i where input and output have one shape, None otherwise."""
    slot, outputs = measurement.slot, lab.layout.outputs
    plain = slot.plain and not slot.complex
    if len(outputs.slots) != 1 or outputs.slots[0].shape != slot.shape or not plain or not _cheap(lab, slot):
        return None
    precision = lab.precision
    rng = lab.rng("diagonal")
    values = np.zeros(slot.width)
    for i in range(slot.width):
        cotangent = np.zeros(outputs.width)
        cotangent[i] = precision.point.cotangent[i]
        point = precision.point.with_cotangent(cotangent)
        coordinates = np.arange(point.x.size)[measurement.part][i : i + 1]
        found = assess(point, np.zeros(point.x.size), tolerance_of(lab, precision), rng, coordinates, False)
        values[i] = found.value[0]
    return values.reshape(slot.shape)
