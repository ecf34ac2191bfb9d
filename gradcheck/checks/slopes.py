# SPDX-License-Identifier: Apache-2.0
"""The gradient in float64 against finite differences and autodiff, element by element."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from gradcheck.backend.tensorflow.failures import Stopped
from gradcheck.backend.tensorflow.faults import refused
from gradcheck.checks.check import INPUTS, OUTPUTS, Check, Item, blamed_before
from gradcheck.checks.nearby import region_nearby
from gradcheck.diagnose.approximate import approximate
from gradcheck.diagnose.chaos import chaos
from gradcheck.diagnose.contrast import STOPPED, contrast_of, stopped_in_the_forward
from gradcheck.diagnose.counterfactual import refined
from gradcheck.diagnose.factors import with_other_factor
from gradcheck.diagnose.finding import hardened
from gradcheck.diagnose.gather import diagnosis_of
from gradcheck.diagnose.ignored import with_ignored
from gradcheck.diagnose.inner_rules import inner_rule, with_wrong_rule
from gradcheck.diagnose.parts_of_outputs import part_of_outputs
from gradcheck.diagnose.regions import in_region
from gradcheck.diagnose.rows import rows_of
from gradcheck.diagnose.sides import with_side
from gradcheck.diagnose.stairs import slope_of_stairs
from gradcheck.diagnose.undecided import undecided
from gradcheck.differences.assess import Outcome, assess
from gradcheck.differences.ladder import Label
from gradcheck.differences.subgradients import outside_of_subgradients
from gradcheck.measure.gradients import gradient_at, measured_point, tolerance_of
from gradcheck.measure.lab import Lab
from gradcheck.measure.measurement import Measurement, measurements_with
from gradcheck.measure.noise import own_gradient
from gradcheck.results import ROUNDED, Comparison, Exempted, Finding
from gradcheck.verdict.exemptions import CHAOS
from gradcheck.verdict.rounding import bias_of
from gradcheck.verdict.tolerances import (
    ALONE_FLOOR,
    ALONE_RTOL,
    ENOUGH,
    FACTOR_ROUNDINGS,
    LEAST_FACTOR,
    OUTPUTS_ALONE,
    PLAIN_GAP,
    RIGHT_MODE,
    ROUNDOFF,
)


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Compare every input's gradient with finite differences and autodiff, and name the mistake."""
    blocked = blamed_before(lab, found)
    # The gradient of a `reference` that has other values is not the slope of the op.
    other_values = bool(lab.case.reference) and any(f.code == "value-mismatch" for f in found)
    measurements = lab.measurements
    yield from _at_ties(lab, measurements, blocked)
    if not any(m.wrong.any() or m.nonfinite.any() for m in measurements):
        yield from _outputs_alone(lab, blocked)
    swapped = False
    for measurement in measurements:
        yield _comparison(lab, measurement)
        yield from exempted(measurement)
        if any(exemption.reason == CHAOS for exemption in measurement.exempted):
            yield chaos(lab)
        blamed = measurement.slot.name in blocked
        if blamed or (other_values and measurement.agrees_with_autodiff[measurement.wrong].all()):
            continue
        for finding in _findings(lab, measurement, measurements):
            # Two exchanged gradients are one mistake; the first finding names both.
            if not (swapped and finding.cause == "swapped-inputs"):
                yield finding
            swapped |= finding.cause == "swapped-inputs"


CHECK = Check("slopes", "finite_difference", ask, needs=(INPUTS, OUTPUTS))


def exempted(measurement: Measurement) -> Iterator[Exempted]:
    """Yield the reasons for which elements of an input are not blamed."""
    for exemption in measurement.exempted:
        yield Exempted(exemption.reason, CHECK.name, int(exemption.elements.sum()))


def _comparison(lab: Lab, measurement: Measurement) -> Comparison:
    return Comparison(
        "finite-difference",
        measurement.slot.name,
        lab.first_way.mode,
        lab.first_way.tape,
        lab.first_way.device,
        lab.dtype,
        not (measurement.wrong.any() or measurement.nonfinite.any()),
        int(measurement.wrong.size),
        *measurement.worst(),
        float(measurement.tolerance.max()) if measurement.tolerance.size else 0.0,
    )


def _findings(lab: Lab, measurement: Measurement, measurements: Sequence[Measurement]) -> Iterator[Finding]:
    if measurement.missing:
        if measurement.wrong.any():
            yield _missing(lab, measurement)
        return
    if measurement.nonfinite.any():
        yield _nonfinite(lab, measurement)
    if measurement.wrong.any() and not _right_in_another_mode(lab, measurement):
        yield _redrawn(lab, measurement) or _undeclared(lab, measurement) or _mismatch(lab, measurement, measurements)
    elif (bias := _small_factor(lab, measurement)) is not None:
        yield _by_autodiff(lab, measurement, bias)
    yield from undecided(measurement)


def _redrawn(lab: Lab, measurement: Measurement) -> Finding | None:
    """Return a finding where grad_fn draws random numbers of its own, None if it does not."""
    if not lab.redraws:
        return None
    return Finding(
        "nondeterministic",
        f"the gradient of `{measurement.slot.name}` is wrong because it draws random numbers of its own: a mask that"
        " is drawn again in grad_fn is not the one of the forward",
        "redrawn",
        hint="close over the mask of the forward, or draw both with tf.random.stateless_uniform and one seed",
        wrt=measurement.slot.name,
        elements=rows_of(measurement, measurement.wrong, lab.show),
        wrong=int(measurement.wrong.sum()),
    )


def _undeclared(lab: Lab, measurement: Measurement) -> Finding | None:
    """Return a finding where a rule is declared and none ran: the gradient is the forward's own derivative."""
    declared = lab.case.expected_vjp or lab.case.surrogate
    if not declared or lab.gradient_notes:
        return None
    point, rng = lab.precision.point, lab.rng("undeclared")
    coordinates = np.arange(point.x.size)[measurement.part]
    own = assess(point, lab.gradient, tolerance_of(lab, lab.precision), rng, coordinates, lab.precision.trusted)
    if own.wrong.any() or not own.decided.any():
        return None
    finding = Finding(
        "rule-bypassed",
        f"the gradient of `{measurement.slot.name}` is the derivative of the forward and not what `{declared}`"
        " declares: TensorFlow does not use the gradient that is meant",
        hint="register the gradient before the op is traced, under the right name, or use tf.custom_gradient",
        wrt=measurement.slot.name,
        elements=rows_of(measurement, measurement.wrong, lab.show),
        wrong=int(measurement.wrong.sum()),
    )
    return hardened(finding)


def _small_factor(lab: Lab, measurement: Measurement) -> float | None:
    """Return the factor (less one) to autodiff that differences are too coarse to see, None if there is none.

    One ratio at every element is no rounding, however close to one.
    """
    precision = lab.precision
    if measurement.autodiff is None or measurement.declared or not lab.custom or measurement.wrong.any():
        return None
    if lab.exact is not None and lab.exact.found.verdict == ROUNDED:
        return None
    if lab.rounds_to_half or lab.case.surrogate or lab.case.rtol is not None or lab.case.atol is not None:
        return None
    if precision.op.wide and precision.trusted:
        # Differences agree, so that the factor is close to one; at a kink any slope between two may be taken.
        smooth = (measurement.label == Label.SMOOTH) & (measurement.outcome == Outcome.AGREES)
        if smooth.sum() < ENOUGH:
            return None
        least = max(LEAST_FACTOR, FACTOR_ROUNDINGS * precision.op.constants_roundoff)
        g, a = measurement.gradient[smooth], measurement.autodiff[smooth]
        bias = bias_of(g, a, precision.op.roundoff, least)
        return bias if bias is not None and abs(bias) < PLAIN_GAP else None
    if measurement.exempted:
        return None
    return bias_of(measurement.gradient, measurement.autodiff, ROUNDOFF["float32"], PLAIN_GAP)


def _by_autodiff(lab: Lab, measurement: Measurement, bias: float) -> Finding:
    return Finding(
        "gradient-mismatch",
        f"the gradient of `{measurement.slot.name}` is {1 + bias:.10g} times autodiff's at every element, which no"
        " rounding gives; finite differences are too coarse to see it",
        "constant-factor",
        hint=f"divide the gradient by {1 + bias:.10g}",
        wrt=measurement.slot.name,
        elements=rows_of(measurement, np.isfinite(measurement.gradient), lab.show),
        wrong=int(np.isfinite(measurement.gradient).sum()),
    )


def _right_in_another_mode(lab: Lab, measurement: Measurement) -> bool:
    """Return whether the gradient is plainly wrong in the first mode alone: then it is the modes that differ."""
    first = lab.first_way
    way = next((w for w in lab.ways if w.mode != first.mode and w.device == first.device), None)
    if way is None or lab.random or lab.facts.stateless:
        return False
    run = refused(lambda: lab.run(way))
    if run is None:
        return False
    there = own_gradient(lab, run)[measurement.part][measurement.wrong]
    here = own_gradient(lab, lab.first)[measurement.part][measurement.wrong]
    wanted = measurement.wanted[measurement.wrong]
    with np.errstate(all="ignore"):
        gap = np.abs(here - wanted)
        plain = gap > PLAIN_GAP * np.fmax(np.abs(here), np.abs(wanted))
        return bool(np.all(plain & (np.abs(there - wanted) < RIGHT_MODE * gap)))


def _outputs_alone(lab: Lab, blocked: set[str | None]) -> Iterator[Finding]:
    """Look at each output alone: a large one hides what is wrong with a small one."""
    outputs = lab.layout.outputs
    if not 2 <= len(outputs.slots) <= OUTPUTS_ALONE or lab.case.expected_vjp or not lab.custom:
        return
    point = lab.precision.point
    for number, part in enumerate(outputs.ranges()):
        cotangent = np.zeros(outputs.width)
        cotangent[part] = lab.cotangent[part]
        alone = point.with_cotangent(cotangent)
        try:
            gradient = gradient_at(lab, alone)
        except Stopped:
            return
        autodiff = lab.autodiff(alone)
        if autodiff is None or not _differ(lab, gradient, autodiff):
            continue
        for measurement in measurements_with(lab, cotangent, f"output {number}"):
            if measurement.wrong.any() and measurement.slot.name not in blocked:
                yield replace(
                    _mismatch(lab, measurement, [measurement]),
                    cause="one-output",
                    message=f"the gradient of `{measurement.slot.name}` is wrong in the part of output {number}, which"
                    f" is small beside the others. {contrast_of(measurement)}",
                    hint=f"look at the upstream of output {number}",
                )
                return


def _differ(lab: Lab, gradient: np.ndarray, autodiff: np.ndarray) -> bool:
    """Return whether a gradient and autodiff differ by more than 1e-4 of what one input has."""
    for part in lab.layout.inputs.ranges():
        g, a = gradient[part], autodiff[part]
        both = np.isfinite(g) & np.isfinite(a)
        size = np.fmax(np.abs(g), np.abs(a))
        if np.any(np.abs(g - a)[both] > ALONE_RTOL * (size[both] + ALONE_FLOOR * size[both].max(initial=0.0))):
            return True
    return False


def _at_ties(lab: Lab, measurements: Sequence[Measurement], blocked: set[str | None]) -> Iterator[Finding]:
    """Blame a gradient that is between the one-sided slopes of each element, but of no direction.

    At max(a, b) with a = b, the gradients (1, 0) and (0.5, 0.5) are subgradients, (1, 1) is not.
    """
    if lab.case.expected_vjp:
        return
    at_kink = np.concatenate([(v.label == Label.KINK) & ~v.wrong for v in measurements])
    # What autodiff says too is TensorFlow's convention.
    odd = at_kink & ~np.concatenate([v.agrees_with_autodiff for v in measurements])
    if not odd.any():
        return
    point = measured_point(lab)
    gradient = np.concatenate([v.gradient for v in measurements])
    bad = outside_of_subgradients(point, gradient, np.where(at_kink)[0])
    if bad is None:
        return
    named = next(v for v in measurements if odd[v.part].any())
    if named.slot.name in blocked:
        return
    yield Finding(
        "gradient-mismatch",
        f"the gradient of `{named.slot.name}` is wrong where values tie: where the tied elements move together"
        f" the slope is {_between(bad.low, bad.high)}, the gradient gives {bad.given:.6g}",
        "elements",
        hint="share the gradient between the tied elements, or give it to one of them",
        wrt=named.slot.name,
        elements=rows_of(named, odd[named.part], lab.show),
        wrong=int(odd[named.part].sum()),
    )


def _between(low: float, high: float) -> str:
    """Say between which numbers a slope is, once where both are the same."""
    least, most = f"{low:.6g}", f"{high:.6g}"
    return least if least == most else f"{least} to {most}"


def _missing(lab: Lab, measurement: Measurement) -> Finding:
    worst = int(np.argmax(np.where(measurement.wrong, np.abs(measurement.wanted), 0)))
    message = (
        f"the gradient of `{measurement.slot.name}` is None although the output depends on it:"
        f" its slope is {measurement.wanted[worst]:.6g} at {list(measurement.slot.where(worst))}"
    )
    return Finding(
        "gradient-missing",
        message,
        hint="return its gradient; if none is meant, write `differentiate: none` in the spec",
        wrt=measurement.slot.name,
    )


def _nonfinite(lab: Lab, measurement: Measurement) -> Finding:
    elements = rows_of(measurement, measurement.nonfinite, lab.show)
    first = elements[0]
    message = (
        f"the gradient of `{measurement.slot.name}` is {first.analytic:g} at {list(first.index)} where the input is"
        f" {first.input:g} and the reference is {first.finite_difference:.6g}"
    )
    autodiff = measurement.autodiff
    if autodiff is not None and not np.isfinite(autodiff[measurement.nonfinite]).all():
        message += "; TensorFlow's own gradient of the forward is no number there either"
    return Finding(
        "gradient-nonfinite",
        message,
        hint="look for an overflow, 0 * inf or a division by zero in grad_fn",
        wrt=measurement.slot.name,
        elements=elements,
        wrong=int(measurement.nonfinite.sum()),
    )


def _mismatch(lab: Lab, measurement: Measurement, measurements: Sequence[Measurement]) -> Finding:
    contrast = contrast_of(measurement, lab.facts.stops)
    meant = lab.facts.stops and STOPPED in contrast and not measurement.declared
    inner = None if measurement.declared or meant else inner_rule(lab, lab.precision.point.x, measurement.part)
    diagnosis = inner or slope_of_stairs(lab, measurement) or diagnosis_of(lab, measurement, measurements)
    diagnosis = with_other_factor(lab, measurement, diagnosis)
    if diagnosis.moving or diagnosis.tentative or (diagnosis.cause == "unknown" and not diagnosis.hint):
        diagnosis = with_side(lab, measurement, refined(lab, measurement, diagnosis))
    if diagnosis.cause == "unknown" and not diagnosis.hint:
        diagnosis = part_of_outputs(lab, measurement) or approximate(lab, measurement) or diagnosis
    if diagnosis.moving and (region := region_nearby(lab, measurement.slot)) is not None:
        diagnosis = in_region(region)
    diagnosis = with_wrong_rule(lab, measurement, with_ignored(lab, measurement, diagnosis))
    hint = diagnosis.hint
    if meant:
        diagnosis = stopped_in_the_forward(lab, diagnosis)
        hint = "if it is meant, name a function with the gradient that is meant: `surrogate:`, or `expected_vjp:`"
    return Finding(
        "gradient-mismatch",
        f"the gradient of `{measurement.slot.name}` is wrong: {diagnosis.message}. {contrast}",
        diagnosis.cause,
        hint=hint,
        wrt=measurement.slot.name,
        elements=rows_of(measurement, measurement.wrong, lab.show),
        wrong=int(measurement.wrong.sum()),
    )
