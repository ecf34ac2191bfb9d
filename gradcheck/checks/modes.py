# SPDX-License-Identifier: Apache-2.0
"""The same gradient in every mode, tape position and device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from gradcheck.backend.tensorflow.failures import finding_from, hint_for
from gradcheck.backend.tensorflow.faults import own_fault, refused
from gradcheck.backend.tensorflow.runs import OutputsChanged, Run
from gradcheck.checks.agreement import comparison
from gradcheck.checks.apart import EXEMPTIONS, Apart, apart_of
from gradcheck.checks.check import FIXED, Check, Item
from gradcheck.diagnose.chaos import chaos
from gradcheck.diagnose.finding import seen_in
from gradcheck.diagnose.rows import rows_between
from gradcheck.measure.lab import Lab
from gradcheck.numerics.arrays import Array
from gradcheck.results import Exempted, Finding, Skipped
from gradcheck.verdict.exemptions import CHAOS
from gradcheck.ways import EAGER_MODE, FIRST_DEVICE, INSIDE_TAPE, OUTSIDE_TAPE, XLA, Way

CONTRACT = frozenset({"gradient-shape", "gradient-dtype", "gradient-count", "nondeterministic"})
LOOK_FOR_MODES = "look for code that depends on the mode: tf.executing_eagerly(), Python state frozen by tracing"

LOOK_FOR_NUMBERS = (
    "look for 0 * inf, a division by zero or an overflow: one mode simplifies it away, the other gives NaN"
)


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Run every way but the first and compare it with the first."""
    results: list[Finding] = []
    unordered = {v.name for v in lab.variables} if any(f.code == "variables-order" for f in found) else set()
    # Under XLA other random numbers are drawn, so that a wrong gradient is another one there.
    mistaken = {f.wrt for f in found if f.code == "gradient-mismatch"}
    said = {f.message for f in found}
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
                elif item.wrt not in ignored and item.message not in said:
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
    apart = apart_of(lab, way, run)
    for exemption in EXEMPTIONS:
        if not apart.any:
            break
        gradient, value = exemption.covers(lab, apart)
        for covered in (gradient & apart.gradient_odd, value & apart.value_odd):
            if covered.any():
                yield Exempted(exemption.said(way), CHECK.name, int(covered.sum()))
        if exemption.reason == CHAOS and (gradient.any() or value.any()):
            yield chaos(lab)
        apart = apart.without(gradient, value)
    yield from _differences(lab, apart)


def _differences(lab: Lab, apart: Apart) -> Iterator[Item]:
    """Yield a comparison for each input, and what is left to blame."""
    way, parts, tolerance = apart.way, lab.layout.inputs.ranges(), lab.rounding.gradient_tolerance
    for slot, part in zip(lab.slots, parts, strict=True):
        found, wanted, odd = apart.gradient[part], apart.base_gradient[part], apart.gradient_odd[part]
        yield comparison("mode-agreement", lab, way, slot.name, found, wanted, odd, tolerance[part])
    if apart.value_odd.any():
        yield _value_finding(lab, way, *apart.values(lab), apart.value_odd)
    yield from _missing(lab, way, apart.run, apart.base)
    for index, part in enumerate(parts):
        both = (apart.run.gradients[index] is None) == (apart.base.gradients[index] is None)
        if apart.gradient_odd[part].any() and not apart.value_odd.any() and both:
            odd = apart.gradient_odd[part]
            yield _mode_finding(lab, way, index, apart.gradient[part], apart.base_gradient[part], odd)


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
    lost = np.isfinite(found[odd]) != np.isfinite(base[odd])
    elements = rows_between(measurement, odd, lab.show, found, base, measurement.tolerance, way.label)
    return Finding(
        "mode-mismatch",
        f"the gradient of `{slot.name}` differs between {lab.first_way.label} and {way.label} at"
        f" {int(odd.sum())} of {odd.size} elements by more than rounding explains",
        hint=LOOK_FOR_NUMBERS if lost.all() else LOOK_FOR_MODES,
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
