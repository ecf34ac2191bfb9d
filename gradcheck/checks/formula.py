"""The gradient in float64 against finite differences and autodiff, element by element."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from gradcheck.autodiff.coordinates import Slot
from gradcheck.autodiff.failures import Stopped
from gradcheck.autodiff.noise import own_gradient
from gradcheck.autodiff.subject import Subject
from gradcheck.checks.causes import diagnosis_of
from gradcheck.checks.gradients import autodiff_at, gradient_at, main_reference, measured_point
from gradcheck.checks.near import region_nearby
from gradcheck.checks.rounding import bias_of
from gradcheck.checks.verdicts import SlotVerdict, verdicts_of, verdicts_with
from gradcheck.numerics.assess import Outcome
from gradcheck.numerics.closeness import worst_first
from gradcheck.numerics.ladder import Label
from gradcheck.numerics.places import in_region
from gradcheck.numerics.ties import outside_of_subgradients
from gradcheck.numerics.tolerance import ROUNDOFF
from gradcheck.results import Comparison, Element, Finding

PHASE = "finite_difference"
MAX_OUTPUTS = 8
# A difference between two modes that cannot be overlooked.
PLAIN_GAP = 1e-3

_INCONCLUSIVE = {
    Label.KINK: "kink",
    Label.JUMP: "jump",
    Label.DOMAIN: "domain",
    Label.SINGULAR: "domain",
    Label.NONFINITE: "domain",
}


def check(subject: Subject, found: Sequence[Finding]) -> Iterator[Finding | Comparison]:
    """Compare every input's gradient with its reference and name the mistake."""
    if not subject.slots or not subject.layout.outputs.width or not subject.layout.inputs.width:
        return
    blocked = {f.wrt for f in found if f.level == "error"}
    if any(f.code == "variables-order" for f in found):
        blocked |= {variable.name for variable in subject.variables}
    # The gradient of a `reference` that has other values is not the slope of the op.
    other_values = bool(subject.case.reference) and any(f.code == "value-mismatch" for f in found)
    verdicts = verdicts_of(subject)
    yield from _at_ties(subject, verdicts, blocked)
    if not any(verdict.wrong.any() or verdict.nonfinite.any() for verdict in verdicts):
        yield from _outputs_alone(subject, blocked)
    swapped = False
    for verdict in verdicts:
        yield _comparison(subject, verdict)
        if verdict.slot.name in blocked or (other_values and verdict.agrees_with_autodiff[verdict.wrong].all()):
            continue
        for finding in _findings(subject, verdict, verdicts):
            # Two exchanged gradients are one mistake; the first finding names both.
            if not (swapped and finding.cause == "swapped-inputs"):
                yield finding
            swapped |= finding.cause == "swapped-inputs"


def _comparison(subject: Subject, verdict: SlotVerdict) -> Comparison:
    return Comparison(
        "finite-difference",
        verdict.slot.name,
        subject.ways[0].mode,
        subject.ways[0].tape,
        subject.ways[0].device,
        subject.dtype,
        not (verdict.wrong.any() or verdict.nonfinite.any()),
        int(verdict.wrong.size),
        *verdict.worst(),
        float(verdict.tolerance.max()) if verdict.tolerance.size else 0.0,
    )


def _findings(subject: Subject, verdict: SlotVerdict, verdicts: Sequence[SlotVerdict]) -> Iterator[Finding]:
    name = verdict.slot.name
    if verdict.missing:
        if verdict.wrong.any():
            yield _missing(subject, verdict)
        return
    if verdict.nonfinite.any():
        yield _nonfinite(subject, verdict)
    if verdict.wrong.any() and not _right_in_another_mode(subject, verdict):
        yield _mismatch(subject, verdict, verdicts)
    elif (bias := _small_factor(subject, verdict)) is not None:
        yield _by_autodiff(subject, verdict, bias)
    yield from _inconclusive(subject, name, verdict)


def _small_factor(subject: Subject, verdict: SlotVerdict) -> float | None:
    """Return the factor (less one) to autodiff that differences are too coarse to see, None if there is none."""
    reference = main_reference(subject)
    if verdict.autodiff is None or verdict.expected or not subject.custom or verdict.wrong.any():
        return None
    if (reference.realm.wide and reference.trusted) or subject.rounds_to_half:
        return None
    bias = bias_of(verdict.gradient, verdict.autodiff, ROUNDOFF["float32"])
    return bias if bias is not None and abs(bias) > PLAIN_GAP else None


def _by_autodiff(subject: Subject, verdict: SlotVerdict, bias: float) -> Finding:
    return Finding(
        "gradient-mismatch",
        f"the gradient of `{verdict.slot.name}` is {1 + bias:.5g} times autodiff's at every element, which no rounding"
        " gives; an op inside computes in float32 only, so that finite differences cannot see it",
        "constant-factor",
        hint=f"divide the gradient by {1 + bias:.5g}",
        wrt=verdict.slot.name,
        mode="eager",
        device="cpu:0",
        dtype=subject.dtype,
        elements=elements_of(subject, verdict, np.isfinite(verdict.gradient)),
    )


def _right_in_another_mode(subject: Subject, verdict: SlotVerdict) -> bool:
    """Return whether the gradient is plainly wrong in the first mode alone: then the modes differ, and that is told."""
    first = subject.ways[0]
    way = next((w for w in subject.ways if w.mode != first.mode and w.device == first.device), None)
    if way is None or subject.eager is None or subject.gradients.seed is not None or subject.survey.stateless:
        return False
    try:
        there = own_gradient(subject, subject.run(way))[verdict.part][verdict.wrong]
    except Exception:
        return False
    here = own_gradient(subject, subject.eager)[verdict.part][verdict.wrong]
    wanted = verdict.reference[verdict.wrong]
    with np.errstate(all="ignore"):
        gap = np.abs(here - wanted)
        plain = gap > PLAIN_GAP * np.fmax(np.abs(here), np.abs(wanted))
        return bool(np.all(plain & (np.abs(there - wanted) < 0.1 * gap)))


def _outputs_alone(subject: Subject, blocked: set[str | None]) -> Iterator[Finding]:
    """Look at each output alone: a large one hides what is wrong with a small one."""
    outputs = subject.layout.outputs
    if not 2 <= len(outputs.slots) <= MAX_OUTPUTS or subject.case.expected_vjp or not subject.custom:
        return
    point = main_reference(subject).point
    for number, part in enumerate(outputs.ranges()):
        cotangent = np.zeros(outputs.width)
        cotangent[part] = subject.cotangent[part]
        alone = point.with_cotangent(cotangent)
        try:
            gradient = gradient_at(subject, main_reference(subject), alone)
        except Stopped:
            return
        autodiff = autodiff_at(subject, main_reference(subject), alone)
        if autodiff is None or not _differ(subject, gradient, autodiff):
            continue
        for verdict in verdicts_with(subject, cotangent, f"output {number}"):
            if verdict.wrong.any() and verdict.slot.name not in blocked:
                yield replace(
                    _mismatch(subject, verdict, [verdict]),
                    cause="one-output",
                    message=f"the gradient of `{verdict.slot.name}` is wrong in the part of output {number}, which is"
                    f" small beside the others. {odd_one_out(verdict)}",
                    hint=f"look at the upstream of output {number}",
                )
                return


def _differ(subject: Subject, gradient: np.ndarray, autodiff: np.ndarray) -> bool:
    """Return whether a gradient and autodiff differ by more than 1e-4 of what one input has."""
    for part in subject.layout.inputs.ranges():
        g, a = gradient[part], autodiff[part]
        both = np.isfinite(g) & np.isfinite(a)
        size = np.fmax(np.abs(g), np.abs(a))
        if np.any(np.abs(g - a)[both] > 1e-4 * (size[both] + 1e-2 * size[both].max(initial=0.0))):
            return True
    return False


def _at_ties(subject: Subject, verdicts: Sequence[SlotVerdict], blocked: set[str | None]) -> Iterator[Finding]:
    """Blame a gradient that is between the one-sided slopes of each element, but of no direction.

    At max(a, b) with a = b, the gradients (1, 0) and (0.5, 0.5) are subgradients, (1, 1) is not.
    """
    if subject.case.expected_vjp:
        return
    at_kink = np.concatenate([(v.label == Label.KINK) & ~v.wrong for v in verdicts])
    # What autodiff says too is TensorFlow's convention.
    odd = at_kink & ~np.concatenate([v.agrees_with_autodiff for v in verdicts])
    if not odd.any():
        return
    point = measured_point(subject)
    gradient = np.concatenate([v.gradient for v in verdicts])
    bad = outside_of_subgradients(point, gradient, np.where(at_kink)[0])
    if bad is None:
        return
    named = next(v for v in verdicts if odd[v.part].any())
    if named.slot.name in blocked:
        return
    yield Finding(
        "gradient-mismatch",
        f"the gradient of `{named.slot.name}` is wrong where values tie: where the tied elements move together"
        f" the slope is {bad.low:.6g} to {bad.high:.6g}, the gradient gives {bad.given:.6g}",
        "elements",
        hint="share the gradient between the tied elements, or give it to one of them",
        wrt=named.slot.name,
        mode="eager",
        device="cpu:0",
        dtype=subject.dtype,
        elements=elements_of(subject, named, odd[named.part]),
    )


def _missing(subject: Subject, verdict: SlotVerdict) -> Finding:
    worst = int(np.argmax(np.where(verdict.wrong, np.abs(verdict.reference), 0)))
    message = (
        f"the gradient of `{verdict.slot.name}` is None although the output depends on it:"
        f" its slope is {verdict.reference[worst]:.6g} at {list(verdict.slot.where(worst))}"
    )
    return Finding(
        "gradient-missing",
        message,
        hint="return its gradient; if none is meant, write `differentiate: none` in the spec",
        wrt=verdict.slot.name,
        mode="eager",
        dtype=subject.dtype,
    )


def _nonfinite(subject: Subject, verdict: SlotVerdict) -> Finding:
    elements = elements_of(subject, verdict, verdict.nonfinite)
    first = elements[0]
    message = (
        f"the gradient of `{verdict.slot.name}` is {first.analytic:g} at {list(first.index)} where the input is"
        f" {first.input:g} and the reference is {first.finite_difference:.6g}"
    )
    return Finding(
        "gradient-nonfinite",
        message,
        hint="look for an overflow, 0 * inf or a division by zero in grad_fn",
        wrt=verdict.slot.name,
        mode="eager",
        dtype=subject.dtype,
        elements=elements,
    )


def _mismatch(subject: Subject, verdict: SlotVerdict, verdicts: Sequence[SlotVerdict]) -> Finding:
    diagnosis = diagnosis_of(subject, verdict, verdicts)
    if diagnosis.moving and (region := region_nearby(subject, verdict.slot)) is not None:
        diagnosis = in_region(region)
    told = odd_one_out(verdict, subject.survey.stops)
    hint = diagnosis.hint
    if subject.survey.stops and "tf.stop_gradient" in told:
        hint = "if it is meant, name a function with the gradient that is meant: `surrogate:`, or `expected_vjp:`"
    return Finding(
        "gradient-mismatch",
        f"the gradient of `{verdict.slot.name}` is wrong: {diagnosis.message}. {told}",
        diagnosis.cause,
        hint=hint,
        wrt=verdict.slot.name,
        mode="eager",
        device="cpu:0",
        dtype=subject.dtype,
        elements=elements_of(subject, verdict, verdict.wrong),
    )


def odd_one_out(verdict: SlotVerdict, stops: bool = False) -> str:
    """Return the sentence that says which of the three gradients stands alone; `stops`: the op holds stop_gradient."""
    wrong = verdict.wrong & (verdict.label != Label.KINK)
    wrong = wrong if wrong.any() else verdict.wrong
    if verdict.expected:
        return f"It differs from {verdict.expected}."
    if verdict.autodiff is None or not np.any(verdict.autodiff):
        return "It differs from the finite difference; there is no autodiff of the bare forward."
    g, a, t = verdict.gradient[wrong], verdict.autodiff[wrong], verdict.value[wrong]
    decided = np.isfinite(t) & (verdict.outcome[wrong] == Outcome.WRONG)
    if not decided.all():
        return "Autodiff disagrees with it; the finite difference cannot decide."
    near = np.abs(a - t) <= 1e-3 * np.maximum(np.abs(t), np.abs(a)) + verdict.error[wrong]
    same = np.abs(a - g) <= 1e-6 * np.maximum(np.abs(g), np.abs(a))
    if near.all():
        return "Analytic is the odd one out: autodiff and finite differences agree."
    if same.all() and stops:
        return "Analytic and autodiff agree and finite differences do not: there is a tf.stop_gradient in the forward."
    if same.all():
        return "Analytic and autodiff agree and finite differences do not: the rule of an op inside is wrong too."
    return "All three differ; analytic and autodiff both differ from finite differences."


def _inconclusive(subject: Subject, name: str, verdict: SlotVerdict) -> Iterator[Finding]:
    groups: dict[str, list[int]] = {}
    open_ones = (verdict.outcome == Outcome.UNDECIDED) & ~verdict.agrees_with_autodiff
    open_ones |= np.isin(verdict.label, list(_INCONCLUSIVE))
    open_ones &= ~verdict.wrong & ~verdict.nonfinite & (verdict.label != Label.UNMEASURED)
    for i in np.where(open_ones)[0]:
        label = Label(verdict.label[i])
        if label in _INCONCLUSIVE:
            groups.setdefault(_INCONCLUSIVE[label], []).append(int(i))
        elif verdict.outcome[i] == Outcome.UNDECIDED and not verdict.agrees_with_autodiff[i]:
            groups.setdefault("noise", []).append(int(i))
    for cause, places in groups.items():
        shown = ", ".join(str(list(verdict.slot.where(i))) for i in places[:4]) + (", ..." if len(places) > 4 else "")
        yield Finding(
            "inconclusive",
            f"the finite difference of `{name}` cannot decide at {len(places)}"
            f" element{'s' * (len(places) != 1)} ({shown}): {_REASONS[cause]}",
            cause,
            "warning",
            hint=f"keep inputs away with `avoid` or `domain` ({cause})",
            wrt=name,
            dtype=subject.dtype,
        )


_REASONS = {
    "kink": "the slopes from left and right differ; any slope between them is accepted",
    "jump": "the value jumps there",
    "domain": "the edge of the domain, or an infinite slope",
    "noise": "rounding hides the slope",
}


def elements_of(subject: Subject, verdict: SlotVerdict, chosen: np.ndarray) -> tuple[Element, ...]:
    """Return the worst of the chosen elements, worst first."""
    most = subject.cache.get("show", 10)
    return tuple(
        _element(subject, verdict, int(i)) for i in worst_first(chosen, verdict.gradient, verdict.reference, most)
    )


def _element(subject: Subject, verdict: SlotVerdict, i: int) -> Element:
    slot: Slot = verdict.slot
    return Element(
        slot.where(i),
        float(verdict.point[i]),
        float(verdict.gradient[i]),
        None if verdict.autodiff is None else float(verdict.autodiff[i]),
        None if verdict.expected else float(verdict.value[i]),
        float(verdict.abs_error[i]),
        float(verdict.rel_error[i]),
        float(verdict.tolerance[i] + (verdict.error[i] if np.isfinite(verdict.error[i]) else 0.0)),
    )
