"""The same gradient in every mode, tape position and device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from gradcheck.backend.tensorflow.failures import finding_from, hint_for
from gradcheck.backend.tensorflow.faults import own_fault, refused
from gradcheck.backend.tensorflow.runs import OutputsChanged, Run
from gradcheck.checks.agreement import comparison
from gradcheck.checks.check import FIXED, Check, Item
from gradcheck.diagnose.chaos import chaos
from gradcheck.diagnose.finding import seen_in
from gradcheck.diagnose.rows import rows_between
from gradcheck.measure.lab import Lab
from gradcheck.measure.noise import own_gradient, own_values
from gradcheck.numerics.arrays import Array, Mask
from gradcheck.numerics.closeness import largest, wide
from gradcheck.results import Exempted, Finding, Skipped
from gradcheck.verdict.exemptions import CHAOS
from gradcheck.verdict.rounding import beyond, bias_of
from gradcheck.verdict.tolerances import CHAOTIC_GROWTH, NUDGED, NUDGES, OWN_SHARE, SPECIAL_ROUNDINGS, TIE_SAFETY
from gradcheck.ways import EAGER_MODE, FIRST_DEVICE, INSIDE_TAPE, OUTSIDE_TAPE, XLA, Way

CONTRACT = frozenset({"gradient-shape", "gradient-dtype", "gradient-count", "nondeterministic"})
LOOK_FOR_MODES = "look for code that depends on the mode: tf.executing_eagerly(), Python state frozen by tracing"
DECOMPOSITION = "XLA takes another sign or phase for the factors of a matrix, which is as right"
SPECIAL = "XLA computes special functions by formulas of its own, exact to roundings of one"
TENSORFLOWS = "TensorFlow's own gradient of the forward differs under XLA as much"
TIE = "the modes differ at this very input only (a tie that rounding decides)"


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Run every way but the first and compare it with the first."""
    results: list[Finding] = []
    unordered = {v.name for v in lab.variables} if any(f.code == "variables-order" for f in found) else set()
    # Under XLA other random numbers are drawn, so that a wrong gradient is another one there.
    mistaken = {f.wrt for f in found if f.code == "gradient-mismatch"}
    if lab.random:
        yield Skipped("modes: values and gradients", FIXED.otherwise)
    for way in lab.ways:
        try:
            run = lab.first if way == lab.first_way else lab.run(way)
        except OutputsChanged as error:
            results.append(seen_in(way, _other_outputs(lab, way, error)))
            continue
        except Exception as error:
            if own_fault(error):
                raise
            for refusal in _unsupported(lab, way, error):
                if isinstance(refusal, Finding):
                    results.append(refusal)
                else:
                    yield refusal
            continue
        yield from _placement(way, run)
        if way != lab.first_way and lab.layout.outputs.width and not lab.random:
            ignored = unordered | mistaken if way.mode == XLA and lab.facts.stateless else unordered
            for item in _compare(lab, way, run):
                if not isinstance(item, Finding):
                    yield item
                elif item.wrt not in ignored:
                    results.append(seen_in(way, item))
    yield from _merged(results)


CHECK = Check("modes", "gradients", ask, pointless_after=CONTRACT)


def _other_outputs(lab: Lab, way: Way, error: OutputsChanged) -> Finding:
    return Finding(
        "value-mismatch",
        f"the outputs differ between {lab.first_way.label} and {way.label}: {error}",
        hint=LOOK_FOR_MODES,
    )


def _unsupported(lab: Lab, way: Way, error: BaseException) -> Iterator[Finding | Skipped]:
    plain_fails = _plain_fails(lab, way)
    if way.tape == OUTSIDE_TAPE and plain_fails and not _fails_inside(lab, way):
        reason = "TensorFlow itself cannot differentiate the plain forward this way"
        yield Skipped(f"modes: {way.label}", reason)
        return
    finding = finding_from(error, "mode-unsupported", lab.recorder)
    if finding.code == "mode-unsupported" or finding.code not in CONTRACT:
        finding = replace(finding, code="mode-unsupported" if finding.cause is None else finding.code)
    yield replace(
        seen_in(way, finding),
        message=f"works in {lab.first_way.label} and raises in {way.label}: {finding.message}",
        hint=finding.hint or hint_for(error) or "use TensorFlow ops, or leave the mode out with `modes:`",
    )


def _plain_fails(lab: Lab, way: Way) -> bool:
    # TensorFlow cannot take a list of tensors out of a compiled function, and may end the process when it tries.
    fatal = lab.facts.lists and way.mode == XLA and way.tape == OUTSIDE_TAPE
    return fatal or lab.run_plain(way) is None


def _fails_inside(lab: Lab, way: Way) -> bool:
    return refused(lambda: lab.run(Way(way.mode, INSIDE_TAPE, way.device))) is None


def _placement(way: Way, run: Run) -> Iterator[Finding]:
    elsewhere = sorted(name for name in run.devices if name and name != way.device)
    if elsewhere:
        finding = Finding(
            "device-fallback",
            f"asked for {way.device}, outputs or gradients lived on {', '.join(elsewhere)}",
            hint="an op inside has no kernel for that device, or pins another one with tf.device",
        )
        yield seen_in(way, finding)


def _compare(lab: Lab, way: Way, run: Run) -> Iterator[Item]:
    rounding, base = lab.rounding, lab.first
    if way.mode == XLA and lab.facts.stateless:
        # XLA draws other numbers from the same seed: compare with autodiff of the same draw.
        base = lab.run_plain(way) or run
        rounding = replace(rounding, gradient=own_gradient(lab, base), value=own_values(lab, base))
    value, base_value = own_values(lab, run), own_values(lab, base)
    odd_values = beyond(value, base_value, rounding.value, rounding.value_tolerance, rounding.roundoff)
    if odd_values.any():
        odd_values &= _clearer(value, base_value, lab.noise.value)
    del value, base_value
    gradient, base_gradient = own_gradient(lab, run), own_gradient(lab, base)
    odd = beyond(gradient, base_gradient, rounding.gradient, rounding.gradient_tolerance, rounding.roundoff)
    if odd.any():
        odd &= _clearer(gradient, base_gradient, lab.noise.gradient)
    else:
        odd |= _off_by_a_factor(lab, gradient, base_gradient, rounding.roundoff)
    if way.mode == XLA and lab.facts.decomposes and (odd.any() or odd_values.any()):
        free = odd_values & _of_one_size(own_values(lab, run), own_values(lab, base), rounding.roundoff)
        yield from _granted((DECOMPOSITION, free))
        odd_values &= ~free
    if way.mode == XLA and lab.facts.special and odd_values.any():
        near = odd_values & _near_as_one(own_values(lab, run), own_values(lab, base), rounding.roundoff)
        yield from _granted((SPECIAL, near))
        odd_values &= ~near
    if way.mode == XLA and odd.any() and (lab.custom or lab.facts.decomposes):
        own = odd & _differs_without_the_rule(lab, way, gradient - base_gradient)
        yield from _granted((TENSORFLOWS, own))
        odd &= ~own
    if (odd.any() or odd_values.any()) and lab.growth > CHAOTIC_GROWTH:
        yield from _granted((CHAOS, odd), (CHAOS, odd_values))
        yield chaos(lab)
        odd, odd_values = odd & False, odd_values & False
    if (odd.any() or odd_values.any()) and _goes_away(lab, way):
        # That one of them is no number is no matter of rounding.
        lost = np.isfinite(gradient) != np.isfinite(base_gradient)
        tied = int((odd & ~lost).sum() + odd_values.sum())
        if tied:
            yield Exempted(f"{way.label}: {TIE}", CHECK.name, tied)
        odd, odd_values = odd & lost, odd_values & False
    parts = lab.layout.inputs.ranges()
    for slot, part in zip(lab.slots, parts, strict=True):
        found, wanted, tolerance = gradient[part], base_gradient[part], rounding.gradient_tolerance[part]
        yield comparison("mode-agreement", lab, way, slot.name, found, wanted, odd[part], tolerance)
    if odd_values.any():
        value, base_value = own_values(lab, run), own_values(lab, base)
        yield _value_finding(lab, way, value, base_value, odd_values)
    yield from _missing(lab, way, run, base)
    for index, part in enumerate(parts):
        both = (run.gradients[index] is None) == (base.gradients[index] is None)
        if odd[part].any() and not odd_values.any() and both:
            yield _mode_finding(lab, way, index, gradient[part], base_gradient[part], odd[part])


def _granted(*granted: tuple[str, Mask]) -> Iterator[Exempted]:
    for reason, elements in granted:
        if elements.any():
            yield Exempted(reason, CHECK.name, int(elements.sum()))


def _of_one_size(found: Array, base: Array, roundoff: float) -> Mask:
    """Return where two values differ in sign or phase only, which a decomposition leaves open."""
    with np.errstate(all="ignore"):
        gap = np.abs(np.abs(found) - np.abs(base))
        return np.asarray(gap <= np.sqrt(roundoff) * np.fmax(np.abs(base), largest(base)))


def _near_as_one(found: Array, base: Array, roundoff: float) -> Mask:
    """Return where two values differ by roundings of one, or of themselves."""
    with np.errstate(all="ignore"):
        return np.asarray(np.abs(found - base) <= SPECIAL_ROUNDINGS * roundoff * (1 + np.abs(base)))


def _differs_without_the_rule(lab: Lab, way: Way, gap: Array) -> Mask:
    """Return where TensorFlow's own gradient of the forward differs between the ways about as much."""
    here, there = lab.run_plain(), lab.run_plain(way)
    if here is None or there is None:
        return np.zeros(gap.size, bool)
    with np.errstate(all="ignore"):
        own = np.abs(own_gradient(lab, there) - own_gradient(lab, here))
        # With other factors of a matrix every element is another one.
        own = np.fmax(own, largest(own)) if lab.facts.decomposes else own
        return np.asarray(np.abs(gap) <= OWN_SHARE * own)


def _off_by_a_factor(lab: Lab, found: Array, base: Array, roundoff: float) -> np.ndarray:
    """Return where an input's gradient has one factor throughout, which the wide rounding of half precision hides."""
    odd = np.zeros(base.size, bool)
    if not lab.rounds_to_half or lab.case.rtol is not None or lab.case.atol is not None:
        return odd
    for part in lab.layout.inputs.ranges():
        if bias_of(found[part], base[part], roundoff) is not None:
            odd[part] = base[part] != 0
    return odd


def _clearer(found: Array, base: Array, noise: Array) -> np.ndarray:
    with np.errstate(all="ignore"):
        return ~(np.abs(found - base) <= noise)


def _goes_away(lab: Lab, way: Way) -> bool:
    """Return whether the difference disappears when the inputs move a little: then it is a tie."""
    rounding = lab.rounding
    # Eight times what half precision rounds is all there is.
    safety = 1.0 if lab.rounds_to_half else TIE_SAFETY
    for number in range(NUDGES):
        rng = lab.rng("nudge", str(number))
        values = [_nudged(v, leaf.differentiated, rng) for v, leaf in zip(lab.values, lab.leaves, strict=True)]
        runs = refused(lambda values=values: (lab.run(values=values), lab.run(way, values=values)))  # type: ignore[misc]
        if runs is None:
            return False
        a, b = runs
        for one, two, tolerance in (
            (own_gradient(lab, a), own_gradient(lab, b), rounding.gradient_tolerance),
            (own_values(lab, a), own_values(lab, b), rounding.value_tolerance),
        ):
            if beyond(two, one, one, safety * tolerance, rounding.roundoff).any():
                return False
        if _off_by_a_factor(lab, own_gradient(lab, b), own_gradient(lab, a), rounding.roundoff).any():
            return False
    return True


def _nudged(value, differentiated: bool, rng: np.random.Generator):  # type: ignore[no-untyped-def]
    if not differentiated or not value.size:
        return value
    size = np.abs(value.astype(np.complex128)).mean() or 1.0
    noise = NUDGED * float(size) * rng.uniform(-1, 1, value.shape)
    return (wide(value) + noise).astype(value.dtype)


def _value_finding(lab: Lab, way: Way, value: Array, base: Array, odd: np.ndarray) -> Finding:
    worst = int(np.argmax(np.where(odd, np.nan_to_num(np.abs(value - base), nan=np.inf), -1)))
    return Finding(
        "value-mismatch",
        f"the forward value differs between {lab.first_way.label} ({base[worst]:.6g}) and {way.label}"
        f" ({value[worst]:.6g}) at {int(odd.sum())} of {odd.size} elements",
        hint=LOOK_FOR_MODES,
    )


def _missing(lab: Lab, way: Way, run: Run, base: Run) -> Iterator[Finding]:
    for slot, a, b in zip(lab.slots, base.gradients, run.gradients, strict=True):
        if (a is None) != (b is None) and np.any(np.asarray(a if b is None else b) != 0):
            first, second = ("None", "a gradient") if a is None else ("a gradient", "None")
            yield Finding(
                "mode-mismatch",
                f"`{slot.name}` gets {first} in {lab.first_way.label} and {second} in {way.label}",
                hint="make the op a function of its tensors only",
                wrt=slot.name,
            )


def _mode_finding(
    lab: Lab,
    way: Way,
    index: int,
    found: Array,
    base: Array,
    odd: np.ndarray,
) -> Finding:
    slot = lab.slots[index]
    measurement = lab.measurements[index]
    elements = rows_between(measurement, odd, lab.show, found, base, measurement.tolerance, way.label)
    return Finding(
        "mode-mismatch",
        f"the gradient of `{slot.name}` differs between {lab.first_way.label} and {way.label} at"
        f" {int(odd.sum())} of {odd.size} elements by more than rounding explains",
        hint=LOOK_FOR_MODES,
        wrt=slot.name,
        elements=elements,
        wrong=int(odd.sum()),
    )


def _merged(findings: Sequence[Finding]) -> Iterator[Finding]:
    """Report one finding for all modes that show the same."""
    groups: dict[tuple[str, str | None, str | None], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.code, finding.cause, finding.wrt), []).append(finding)
    for group in groups.values():
        labels = tuple(dict.fromkeys(_label(f) for f in group))
        yield replace(group[0], modes=labels)


def _label(finding: Finding) -> str:
    return Way(finding.mode or EAGER_MODE, finding.tape, finding.device or FIRST_DEVICE).label
