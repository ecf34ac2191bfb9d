"""The gradient in the op's own dtype against the same code in float64."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from gradcheck.autodiff.coordinates import Slot
from gradcheck.autodiff.noise import own_gradient
from gradcheck.autodiff.subject import Subject
from gradcheck.checks.gradients import main_reference
from gradcheck.checks.rounding import bias_of, rounding_of
from gradcheck.checks.verdicts import SlotVerdict, verdicts_of
from gradcheck.numerics.closeness import largest, worst_first
from gradcheck.numerics.ladder import Array, Label
from gradcheck.numerics.parts import parts_of
from gradcheck.results import Comparison, Element, Finding

PHASE = "precision"
LOST = 64.0
# A smaller element is held to the largest: it is what larger terms left.
SMALLEST = 1e-3


def check(subject: Subject, found: Sequence[Finding]) -> Iterator[Finding | Comparison]:
    """Look for NaN, infinities and lost digits that appear only in the own dtype."""
    if subject.eager is None or not subject.layout.inputs.width or not subject.layout.outputs.width:
        return
    blocked = {f.wrt for f in found if f.level == "error"}
    if any(f.code == "variables-order" for f in found):
        blocked |= {variable.name for variable in subject.variables}
    gradient = own_gradient(subject, subject.eager)
    for verdict in verdicts_of(subject):
        if verdict.slot.name in blocked or verdict.missing:
            continue
        own = gradient[verdict.part]
        bad = ~np.isfinite(own)
        if bad.any():
            bad &= np.isfinite(verdict.reference) & _representable(verdict)
        if bad.any():
            yield _nonfinite(subject, verdict, own, bad)
        elif _comparable(subject):
            yield from _lost_digits(subject, verdict, own)


def _comparable(subject: Subject) -> bool:
    reference = main_reference(subject)
    return bool(reference.realm.wide and reference.alive.all() and subject.custom and subject.case.expected_vjp is None)


def _representable(verdict: SlotVerdict) -> np.ndarray:
    slot: Slot = verdict.slot
    real = {"complex64": "float32", "complex128": "float64"}.get(slot.dtype, slot.dtype)
    largest = float(tf.as_dtype(real).max)
    with np.errstate(all="ignore"):
        return np.asarray(
            (np.abs(verdict.reference) < largest / 16) & ~np.isin(verdict.label, (Label.DOMAIN, Label.SINGULAR))
        )


def _nonfinite(subject: Subject, verdict: SlotVerdict, own: Array, bad: np.ndarray) -> Finding:
    elements = _elements(subject, verdict, own, bad)
    first = elements[0]
    message = (
        f"the gradient of `{verdict.slot.name}` is {first.analytic} in {subject.dtype} at {list(first.index)}"
        f" where the input is {first.input:g} and the reference is {verdict.reference[bad][0]:.6g}"
    )
    return Finding(
        "gradient-nonfinite",
        message,
        hint="look for an overflow, 0 * inf or a division by zero in the gradient; use a stable form",
        wrt=verdict.slot.name,
        mode="eager",
        dtype=subject.dtype,
        elements=elements,
    )


def _lost_digits(subject: Subject, verdict: SlotVerdict, own: Array) -> Iterator[Finding]:
    rounding = rounding_of(subject)
    exact, tolerance = rounding.gradient[verdict.part], rounding.gradient_tolerance[verdict.part]
    excess = _excess(own, exact, tolerance, rounding.roundoff)
    bias = bias_of(own, exact, rounding.roundoff)
    shared = bias is not None and _shared_with_autodiff(subject, verdict, exact, bias)
    if bias is not None and not shared and _shared_with_a_trace(subject, verdict, exact, bias):
        yield _biased(subject, verdict, own, bias)
        return
    if not excess.any():
        return
    worst, count = _worst(own[excess], exact[excess], exact), int(excess.sum())
    yield Finding(
        "precision-loss",
        f"the gradient of `{verdict.slot.name}` is right in float64 and off by up to {worst} in {subject.dtype}"
        f" at {count} element{'s' * (count != 1)}",
        level="warning",
        hint="look for a difference of nearly equal numbers in grad_fn",
        wrt=verdict.slot.name,
        mode="eager",
        dtype=subject.dtype,
        elements=_elements(subject, verdict, own, excess),
    )


def _worst(own: Array, exact: Array, whole: Array) -> str:
    """Say how large an error is beside its own size and the largest; in itself where all of the gradient is zero."""
    error, most = np.abs(own - exact), largest(whole)
    if not most:
        return f"{float(error.max()):.2g}"
    return f"{float(np.max(error / np.maximum(np.abs(exact), SMALLEST * most))):.2g} (relative)"


def _excess(own: Array, exact: Array, tolerance: Array, roundoff: float) -> np.ndarray:
    """Return where the own dtype lost more than rounding explains."""
    smallest = SMALLEST * largest(exact)
    excess = np.zeros(exact.size, bool)
    for part in parts_of(exact.size):
        with np.errstate(all="ignore"):
            allowed = 4 * tolerance[part] + LOST * roundoff * np.maximum(np.abs(exact[part]), smallest)
            excess[part] = np.abs(own[part] - exact[part]) > allowed
    return excess


def _shared_with_autodiff(subject: Subject, verdict: SlotVerdict, exact: Array, bias: float) -> bool:
    """Return whether autodiff in the own dtype is off likewise, or cannot tell."""
    run = subject.run_plain()
    if run is None:
        return True
    return _off_by(own_gradient(subject, run)[verdict.part], exact) > abs(bias) / 4


def _shared_with_a_trace(subject: Subject, verdict: SlotVerdict, exact: Array, bias: float) -> bool:
    """Return whether a trace is off likewise; if not, the mode is at fault and not the dtype."""
    way = next((way for way in subject.ways if way.mode == "function" and way.tape == "inside"), None)
    try:
        run = subject.run(way) if way is not None else subject.eager
    except Exception:
        return True
    assert run is not None
    return _off_by(own_gradient(subject, run)[verdict.part], exact) > abs(bias) / 2


def _off_by(found: Array, exact: Array) -> float:
    """Return how far the mean ratio is from one; infinity where there is none."""
    usable = np.isfinite(found) & np.isfinite(exact) & (np.abs(exact) > 1e-3 * np.abs(exact).max(initial=0.0))
    return abs(float((found[usable] / exact[usable] - 1).mean())) if usable.any() else float("inf")


def _biased(subject: Subject, verdict: SlotVerdict, own: Array, bias: float) -> Finding:
    name = verdict.slot.name
    return Finding(
        "gradient-mismatch",
        f"the gradient of `{name}` is right in float64 and wrong in {subject.dtype}: gradient / reference ="
        f" {1 + bias:.4g} at every element, which no rounding gives",
        "constant-factor",
        hint="look for a branch on the dtype, and for constants that the dtype cannot hold",
        wrt=name,
        mode="eager",
        dtype=subject.dtype,
        elements=_elements(subject, verdict, own, np.isfinite(own)),
    )


def _elements(subject: Subject, verdict: SlotVerdict, own: Array, chosen: np.ndarray) -> tuple[Element, ...]:
    found = []
    for i in worst_first(chosen, own, verdict.reference, subject.cache.get("show", 10)):
        gap = abs(float(own[i]) - float(verdict.reference[i]))
        size = abs(float(verdict.reference[i])) or 1.0
        autodiff = None if verdict.autodiff is None else float(verdict.autodiff[i])
        found.append(
            Element(
                verdict.slot.where(int(i)), float(verdict.point[i]), float(own[i]), autodiff, float(verdict.value[i]),
                gap, gap / size, float(verdict.tolerance[i]),
            )
        )  # fmt: skip
    return tuple(found)
