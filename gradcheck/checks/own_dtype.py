# SPDX-License-Identifier: Apache-2.0
"""The gradient in the op's own dtype against the same code in float64."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.runs import largest_number
from gradcheck.checks.check import INPUTS, OUTPUTS, Check, Item, blamed_before
from gradcheck.diagnose.regions import region_of
from gradcheck.diagnose.rows import rows_between, worst_error
from gradcheck.differences.ladder import Label
from gradcheck.measure.lab import Lab
from gradcheck.measure.measurement import Measurement
from gradcheck.measure.noise import own_gradient, own_values
from gradcheck.measure.precision import FLOAT64, rewritten
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.chunks import chunks_of
from gradcheck.numerics.closeness import largest
from gradcheck.numerics.packing import Slot
from gradcheck.results import Element, Finding
from gradcheck.verdict.discrepancy import Mask
from gradcheck.verdict.rounding import beyond, bias_of
from gradcheck.verdict.tolerances import (
    BRANCH_MARGIN,
    LOST_MARGIN,
    LOST_ROUNDINGS,
    NEAR_OVERFLOW,
    SHARED_BY_AUTODIFF,
    SHARED_BY_TRACE,
    SMALLEST,
    TIE_SAFETY,
)


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Look for NaN, infinities and lost digits that appear only in the own dtype."""
    blocked = blamed_before(lab, found)
    gradient = own_gradient(lab, lab.first)
    branch = _branch_of(lab, gradient)
    for measurement in lab.measurements:
        if measurement.slot.name in blocked or measurement.missing:
            continue
        own = gradient[measurement.part]
        bad = ~np.isfinite(own)
        if bad.any():
            bad &= np.isfinite(measurement.wanted) & _representable(measurement) & ~measurement.lost
        if bad.any():
            yield _nonfinite(lab, measurement, own, bad)
        elif branch is not None and (there := branch.wrong[measurement.part]).any():
            yield _in_branch(lab, measurement, branch.gradient[measurement.part], there)
        elif _comparable(lab):
            yield from _lost_digits(lab, measurement, own)


CHECK = Check("own dtype", "precision", ask, needs=(INPUTS, OUTPUTS))


@dataclass(frozen=True, slots=True)
class _Branch:
    """Hold the gradient of the graph that the op has in its own dtype, in float64, and where it is another one."""

    gradient: Array
    wrong: Mask


def _branch_of(lab: Lab, own: Array) -> _Branch | None:
    """Return the gradient of the branch that an op takes in half precision, None if there is none to ask.

    In half precision rounding hides a gradient that is a few percent off; the graph that is traced
    in it, rewritten to float64, does not.  Autodiff of the same graph shows what its rounded
    constants do.
    """
    precision, point = lab.precision, lab.precision.point
    if not lab.rounds_to_half or precision.op.name != FLOAT64 or not _comparable(lab):
        return None
    op, autodiff = rewritten(lab), lab.autodiff(point)
    found = None if op is None else refused(lambda: op.gradient(point.x, point.cotangent))
    bare = None if op is None else refused(lambda: op.autodiff_gradient(point.x, point.cotangent))
    if found is None or bare is None or autodiff is None:
        return None
    with np.errstate(all="ignore"):
        constants = BRANCH_MARGIN * np.abs(bare - autodiff) + lab.rounding.gradient_tolerance / BRANCH_MARGIN
        wrong = np.abs(found - lab.gradient) > constants
        # What only a trace does is the mode's fault and not the dtype's.
        wrong &= np.abs(own - found) < np.abs(own - lab.gradient)
    return _Branch(found, np.asarray(wrong & np.isfinite(found) & np.isfinite(lab.gradient)))


def _in_branch(lab: Lab, measurement: Measurement, found: Array, wrong: Mask) -> Finding:
    region = region_of(measurement.point, wrong, ~wrong) if measurement.slot.plain else None
    where = f" where the input {region}" if region else f" at {int(wrong.sum())} of {wrong.size} elements"
    bias = bias_of(found, measurement.wanted, lab.precision.op.roundoff)
    if bias is not None:
        return _biased(lab, measurement, found, bias)
    return Finding(
        "gradient-mismatch",
        f"the gradient of `{measurement.slot.name}` is right in float64 and wrong in {lab.dtype}{where}: the op takes"
        " another branch in this dtype",
        "region" if region else "elements",
        hint="look for a branch on the dtype in grad_fn",
        wrt=measurement.slot.name,
        elements=rows_between(measurement, wrong, lab.show, found, measurement.wanted, measurement.tolerance),
        wrong=int(wrong.sum()),
    )


def _comparable(lab: Lab) -> bool:
    precision = lab.precision
    return bool(precision.op.wide and precision.alive.all() and lab.custom and lab.case.expected_vjp is None)


def _representable(measurement: Measurement) -> np.ndarray:
    slot: Slot = measurement.slot
    real = {"complex64": "float32", "complex128": "float64"}.get(slot.dtype, slot.dtype)
    largest = largest_number(real)
    with np.errstate(all="ignore"):
        return np.asarray(
            (np.abs(measurement.wanted) < largest / NEAR_OVERFLOW)
            & ~np.isin(measurement.label, (Label.DOMAIN, Label.SINGULAR))
        )


def _nonfinite(lab: Lab, measurement: Measurement, own: Array, bad: np.ndarray) -> Finding:
    elements = _elements(lab, measurement, own, bad)
    first = elements[0]
    message = (
        f"the gradient of `{measurement.slot.name}` is {first.analytic} in {lab.dtype} at {list(first.index)}"
        f" where the input is {first.input:g} and the reference is {measurement.wanted[bad][0]:.6g}"
    )
    return Finding(
        "gradient-nonfinite",
        message,
        hint="look for an overflow, 0 * inf or a division by zero in the gradient; use a stable form",
        wrt=measurement.slot.name,
        elements=elements,
        wrong=int(bad.sum()),
    )


def _lost_digits(lab: Lab, measurement: Measurement, own: Array) -> Iterator[Finding]:
    rounding = lab.rounding
    exact, tolerance = rounding.gradient[measurement.part], rounding.gradient_tolerance[measurement.part]
    excess = _excess(own, exact, tolerance, rounding.roundoff)
    bias = bias_of(own, exact, rounding.roundoff)
    shared = bias is not None and _shared_with_autodiff(lab, measurement, exact, bias)
    if bias is not None and not shared and _shared_with_a_trace(lab, measurement, exact, bias):
        yield _biased(lab, measurement, own, bias)
        return
    if not excess.any() or not _draws_alike(lab):
        return
    worst, count = worst_error(own[excess], exact[excess], exact), int(excess.sum())
    yield Finding(
        "precision-loss",
        f"the gradient of `{measurement.slot.name}` is right in float64 and off by up to {worst} in {lab.dtype}"
        f" at {count} element{'s' * (count != 1)}",
        hint="look for a difference of nearly equal numbers in grad_fn",
        wrt=measurement.slot.name,
        elements=_elements(lab, measurement, own, excess),
        wrong=count,
    )


def _draws_alike(lab: Lab) -> bool:
    """Return whether the op has the same values in float64: random numbers of another dtype are other numbers."""
    if not (lab.random or lab.facts.stateless):
        return True
    wide, tolerance = lab.rounding.value, TIE_SAFETY * lab.rounding.value_tolerance
    return not beyond(own_values(lab, lab.first), wide, wide, tolerance, lab.rounding.roundoff).any()


def _excess(own: Array, exact: Array, tolerance: Array, roundoff: float) -> np.ndarray:
    """Return where the own dtype lost more than rounding explains."""
    smallest = SMALLEST * largest(exact)
    excess = np.zeros(exact.size, bool)
    for part in chunks_of(exact.size):
        with np.errstate(all="ignore"):
            allowed = LOST_MARGIN * tolerance[part] + LOST_ROUNDINGS * roundoff * np.maximum(
                np.abs(exact[part]), smallest
            )
            excess[part] = np.abs(own[part] - exact[part]) > allowed
    return excess


def _shared_with_autodiff(lab: Lab, measurement: Measurement, exact: Array, bias: float) -> bool:
    """Return whether autodiff in the own dtype is off likewise, or cannot tell."""
    run = lab.run_plain()
    if run is None:
        return True
    return _off_by(own_gradient(lab, run)[measurement.part], exact) > abs(bias) * SHARED_BY_AUTODIFF


def _shared_with_a_trace(lab: Lab, measurement: Measurement, exact: Array, bias: float) -> bool:
    """Return whether a trace is off likewise; if not, the mode is at fault and not the dtype."""
    way = next((way for way in lab.ways if way.mode == "function" and way.tape == "inside"), None)
    run = refused(lambda: lab.run(way)) if way is not None else lab.first
    if run is None:
        return True
    return _off_by(own_gradient(lab, run)[measurement.part], exact) > abs(bias) * SHARED_BY_TRACE


def _off_by(found: Array, exact: Array) -> float:
    """Return how far the mean ratio is from one; infinity where there is none."""
    usable = np.isfinite(found) & np.isfinite(exact) & (np.abs(exact) > SMALLEST * np.abs(exact).max(initial=0.0))
    return abs(float((found[usable] / exact[usable] - 1).mean())) if usable.any() else float("inf")


def _biased(lab: Lab, measurement: Measurement, own: Array, bias: float) -> Finding:
    name = measurement.slot.name
    return Finding(
        "gradient-mismatch",
        f"the gradient of `{name}` is right in float64 and wrong in {lab.dtype}: gradient / reference ="
        f" {1 + bias:.4g} at every element, which no rounding gives",
        "constant-factor",
        hint="look for a branch on the dtype, and for constants that the dtype cannot hold",
        wrt=name,
        elements=_elements(lab, measurement, own, np.isfinite(own)),
    )


def _elements(lab: Lab, measurement: Measurement, own: Array, chosen: np.ndarray) -> tuple[Element, ...]:
    return rows_between(measurement, chosen, lab.show, own, measurement.wanted, measurement.tolerance)
