"""The same gradient in every mode, tape position and device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from gradcheck.autodiff.failures import finding_from, hint_for
from gradcheck.autodiff.modes import OutputsChanged, Run, Way
from gradcheck.autodiff.noise import noise_of, own_gradient, own_values
from gradcheck.autodiff.subject import Subject
from gradcheck.checks.rounding import beyond, bias_of, rounding_of
from gradcheck.checks.verdicts import verdicts_of
from gradcheck.numerics.closeness import wide, worst_first
from gradcheck.numerics.ladder import Array
from gradcheck.numerics.parts import parts_of
from gradcheck.results import Comparison, Element, Finding, blamed

PHASE = "gradients"
CONTRACT = ("gradient-shape", "gradient-dtype", "gradient-count", "nondeterministic")
NUDGES = 2
LOOK_FOR_MODES = "look for code that depends on the mode: tf.executing_eagerly(), Python state frozen by tracing"


def check(subject: Subject, found: Sequence[Finding]) -> Iterator[Finding | Comparison]:
    """Run every way but the first and compare it with the first."""
    if blamed(found, CONTRACT) or subject.eager is None:
        return
    results: list[Finding] = []
    unordered = {v.name for v in subject.variables} if any(f.code == "variables-order" for f in found) else set()
    # Under XLA other random numbers are drawn, so that a wrong gradient is another one there.
    mistaken = {f.wrt for f in found if f.code == "gradient-mismatch"}
    for way in subject.ways:
        try:
            run = subject.eager if way == subject.ways[0] else subject.run(way)
        except OutputsChanged as error:
            results.append(_seen_in(subject, way, _other_outputs(subject, way, error)))
            continue
        except Exception as error:
            results.extend(_unsupported(subject, way, error))
            continue
        yield from _placement(way, run)
        if way != subject.ways[0]:
            compared, findings = _compare(subject, way, run)
            yield from compared
            told = unordered | mistaken if way.mode == "xla" and subject.survey.stateless else unordered
            results.extend(_seen_in(subject, way, f) for f in findings if f.wrt not in told)
    yield from _merged(results)


def _other_outputs(subject: Subject, way: Way, error: OutputsChanged) -> Finding:
    return Finding(
        "value-mismatch",
        f"the outputs differ between {subject.ways[0].label} and {way.label}: {error}",
        hint=LOOK_FOR_MODES,
    )


def _unsupported(subject: Subject, way: Way, error: BaseException) -> Iterator[Finding]:
    plain_fails = _plain_fails(subject, way)
    if way.tape == "outside" and plain_fails and not _fails_inside(subject, way):
        subject.cache.setdefault("notes", []).append(
            f"{way.label}: TensorFlow itself cannot differentiate the plain forward this way, so it was not checked"
        )
        return
    finding = finding_from(error, "mode-unsupported", subject.probe)
    if finding.code == "mode-unsupported" or finding.code not in CONTRACT:
        finding = replace(finding, code="mode-unsupported" if finding.cause is None else finding.code)
    yield replace(
        _seen_in(subject, way, finding),
        message=f"works in {subject.ways[0].label} and raises in {way.label}: {finding.message}",
        hint=finding.hint or hint_for(error) or "use TensorFlow ops, or leave the mode out with `modes:`",
    )


def _seen_in(subject: Subject, way: Way, finding: Finding) -> Finding:
    """Return the finding with the way in which it was seen."""
    return replace(finding, mode=way.mode, tape=way.tape, device=way.device, dtype=subject.dtype)


def _plain_fails(subject: Subject, way: Way) -> bool:
    # TensorFlow cannot take a list of tensors out of a compiled function, and may end the process when it tries.
    fatal = subject.survey.lists and way.mode == "xla" and way.tape == "outside"
    return fatal or subject.run_plain(way) is None


def _fails_inside(subject: Subject, way: Way) -> bool:
    try:
        subject.run(Way(way.mode, "inside", way.device))
    except Exception:
        return True
    return False


def _placement(way: Way, run: Run) -> Iterator[Finding]:
    elsewhere = sorted(name for name in run.devices if name and name != way.device)
    if elsewhere:
        yield Finding(
            "device-fallback",
            f"asked for {way.device}, outputs or gradients lived on {', '.join(elsewhere)}",
            hint="an op inside has no kernel for that device, or pins another one with tf.device",
            mode=way.mode,
            tape=way.tape,
            device=way.device,
        )


def _compare(subject: Subject, way: Way, run: Run) -> tuple[list[Comparison], list[Finding]]:
    if not subject.layout.outputs.width or subject.gradients.seed is not None:
        return [], []
    rounding = rounding_of(subject)
    base = subject.eager
    assert base is not None
    if way.mode == "xla" and subject.survey.stateless:
        # XLA draws other numbers from the same seed: compare with autodiff of the same draw.
        base = subject.run_plain(way) or run
        rounding = replace(rounding, gradient=own_gradient(subject, base), value=own_values(subject, base))
    value, base_value = own_values(subject, run), own_values(subject, base)
    odd_values = beyond(value, base_value, rounding.value, rounding.value_tolerance, rounding.roundoff)
    if odd_values.any():
        odd_values &= _clearer(value, base_value, noise_of(subject).value)
    del value, base_value
    gradient, base_gradient = own_gradient(subject, run), own_gradient(subject, base)
    odd = beyond(gradient, base_gradient, rounding.gradient, rounding.gradient_tolerance, rounding.roundoff)
    if odd.any():
        odd &= _clearer(gradient, base_gradient, noise_of(subject).gradient)
    else:
        odd |= _off_by_a_factor(subject, gradient, base_gradient, rounding.roundoff)
    if (odd.any() or odd_values.any()) and _goes_away(subject, way):
        note = f"{way.label}: differs at this very input only (a tie that rounding decides); not held against the op"
        subject.cache.setdefault("notes", []).append(note)
        odd, odd_values = odd & False, odd_values & False
    comparisons = [
        _comparison(
            subject, way, slot.name, gradient[part], base_gradient[part], odd[part], rounding.gradient_tolerance[part]
        )
        for slot, part in zip(subject.slots, subject.layout.inputs.ranges(), strict=True)
    ]
    findings: list[Finding] = []
    if odd_values.any():
        value, base_value = own_values(subject, run), own_values(subject, base)
        findings.append(_value_finding(subject, way, value, base_value, odd_values))
    findings += _missing(subject, way, run, base)
    for index, (_slot, part) in enumerate(zip(subject.slots, subject.layout.inputs.ranges(), strict=True)):
        if (
            odd[part].any()
            and not odd_values.any()
            and (run.gradients[index] is None) == (base.gradients[index] is None)
        ):
            findings.append(_mode_finding(subject, way, index, gradient[part], base_gradient[part], odd[part]))
    return comparisons, findings


def _off_by_a_factor(subject: Subject, found: Array, base: Array, roundoff: float) -> np.ndarray:
    """Return where an input's gradient has one factor throughout, which the wide rounding of half precision hides."""
    odd = np.zeros(base.size, bool)
    if not subject.rounds_to_half or subject.case.rtol is not None or subject.case.atol is not None:
        return odd
    for part in subject.layout.inputs.ranges():
        if bias_of(found[part], base[part], roundoff) is not None:
            odd[part] = base[part] != 0
    return odd


def _clearer(found: Array, base: Array, noise: Array) -> np.ndarray:
    with np.errstate(all="ignore"):
        return ~(np.abs(found - base) <= noise)


def _goes_away(subject: Subject, way: Way) -> bool:
    """Return whether the difference disappears when the inputs move a little: then it is a tie."""
    rounding = rounding_of(subject)
    # Eight times what half precision rounds is all there is.
    safety = 1.0 if subject.rounds_to_half else 8.0
    for number in range(NUDGES):
        rng = subject.rng("nudge", str(number))
        values = [_nudged(v, leaf.differentiated, rng) for v, leaf in zip(subject.values, subject.leaves, strict=True)]
        try:
            a, b = subject.run(subject.ways[0], values=values), subject.run(way, values=values)
        except Exception:
            return False
        for one, two, tolerance in (
            (own_gradient(subject, a), own_gradient(subject, b), rounding.gradient_tolerance),
            (own_values(subject, a), own_values(subject, b), rounding.value_tolerance),
        ):
            if beyond(two, one, one, safety * tolerance, rounding.roundoff).any():
                return False
        if _off_by_a_factor(subject, own_gradient(subject, b), own_gradient(subject, a), rounding.roundoff).any():
            return False
    return True


def _nudged(value, differentiated: bool, rng: np.random.Generator):  # type: ignore[no-untyped-def]
    if not differentiated or not value.size:
        return value
    size = np.abs(value.astype(np.complex128)).mean() or 1.0
    noise = 1e-2 * float(size) * rng.uniform(-1, 1, value.shape)
    return (wide(value) + noise).astype(value.dtype)


def _comparison(
    subject: Subject,
    way: Way,
    name: str,
    found: Array,
    base: Array,
    odd: np.ndarray,
    tolerance: Array,
) -> Comparison:
    absolute, relative = _worst(found, base)
    return Comparison(
        "mode-agreement", name, way.mode, way.tape, way.device, subject.dtype, not odd.any(), int(found.size),
        absolute, relative, float(np.fmax.reduce(tolerance, initial=0.0)),
    )  # fmt: skip


def _worst(found: Array, base: Array) -> tuple[float, float]:
    """Return the largest absolute and relative difference where both are finite."""
    absolute = relative = 0.0
    for part in parts_of(base.size):
        with np.errstate(all="ignore"):
            error, size = np.abs(found[part] - base[part]), np.abs(base[part])
            both = np.isfinite(found[part]) & np.isfinite(size)
            absolute = max(absolute, float(np.max(error, where=both, initial=0.0)))
            relative = max(relative, float(np.max(error / size, where=both & (size > 0), initial=0.0)))
    return absolute, relative


def _value_finding(subject: Subject, way: Way, value: Array, base: Array, odd: np.ndarray) -> Finding:
    worst = int(np.argmax(np.where(odd, np.nan_to_num(np.abs(value - base), nan=np.inf), -1)))
    return Finding(
        "value-mismatch",
        f"the forward value differs between {subject.ways[0].label} ({base[worst]:.6g}) and {way.label}"
        f" ({value[worst]:.6g}) at {int(odd.sum())} of {odd.size} elements",
        hint=LOOK_FOR_MODES,
    )


def _missing(subject: Subject, way: Way, run: Run, base: Run) -> Iterator[Finding]:
    for slot, a, b in zip(subject.slots, base.gradients, run.gradients, strict=True):
        if (a is None) != (b is None) and np.any(np.asarray(a if b is None else b) != 0):
            first, second = ("None", "a gradient") if a is None else ("a gradient", "None")
            yield Finding(
                "mode-mismatch",
                f"`{slot.name}` gets {first} in {subject.ways[0].label} and {second} in {way.label}",
                hint="make the op a function of its tensors only",
                wrt=slot.name,
            )


def _mode_finding(
    subject: Subject,
    way: Way,
    index: int,
    found: Array,
    base: Array,
    odd: np.ndarray,
) -> Finding:
    slot = subject.slots[index]
    verdict = verdicts_of(subject)[index]
    elements = []
    for i in worst_first(odd, found, base, subject.cache.get("show", 10)):
        gap = abs(float(found[i]) - float(base[i]))
        autodiff = None if verdict.autodiff is None else float(verdict.autodiff[i])
        elements.append(
            Element(
                slot.where(int(i)), float(verdict.point[i]), float(base[i]), autodiff, float(verdict.value[i]), gap,
                gap / (abs(float(base[i])) or 1.0), float(verdict.tolerance[i]), {way.label: float(found[i])},
            )
        )  # fmt: skip
    return Finding(
        "mode-mismatch",
        f"the gradient of `{slot.name}` differs between {subject.ways[0].label} and {way.label} at"
        f" {int(odd.sum())} of {odd.size} elements by more than rounding explains",
        hint=LOOK_FOR_MODES,
        wrt=slot.name,
        elements=tuple(elements),
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
    return Way(finding.mode or "eager", finding.tape, finding.device or "cpu:0").label
