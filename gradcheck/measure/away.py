# SPDX-License-Identifier: Apache-2.0
"""The gradient at a site away from the sample: where it is wrong there, and which inputs make it so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.runs import largest_number
from gradcheck.differences.assess import Assessment, Outcome, assess
from gradcheck.differences.ladder import Label
from gradcheck.differences.vector_function import Point
from gradcheck.measure.disorder import in_disorder
from gradcheck.measure.gradients import tolerance_of
from gradcheck.measure.measurement import HELD
from gradcheck.measure.noise import own_gradient, own_values
from gradcheck.measure.own_points import in_own_dtypes, moves_variables, own_point
from gradcheck.measure.paths import fades, grows_slowly, moved, needed, onsets, proportional
from gradcheck.numerics.arrays import Array, Arrays
from gradcheck.numerics.closeness import largest
from gradcheck.verdict.discrepancy import Discrepancy, Exemption
from gradcheck.verdict.exemptions import judge
from gradcheck.verdict.tolerances import (
    AMPLIFIED,
    ASKED_AT_ONCE,
    AUTODIFF_RTOL,
    BEYOND_ONSET,
    CONSTANT_ROUNDINGS,
    LARGEST_INPUT,
    LARGEST_SLOPE,
    NEGLIGIBLE,
    OVERFLOW_MARGIN,
    PLAIN_REACH,
    SAME_RTOL,
    SEEN,
    SHARED_REACH,
    SLOPE_RTOL,
    UNSEEN,
)

if TYPE_CHECKING:
    from gradcheck.measure.lab import Lab

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Away:
    """Hold a coordinate at which the gradient is wrong away from the sample.

    `moved` are the coordinates (with their values) that must be away; `slowly` says that the gap
    grows over a long stretch of the way there, `restless` that slopes beside it follow no order,
    `in_proportion` that it grows like the way itself from the sample on;
    `onset` is the value of the first of `moved` from which on the gap is seen, `start` its value at
    the sample.
    """

    coordinate: int
    input: float
    analytic: float
    autodiff: float | None
    slope: float
    tolerance: float
    own_dtype: bool
    moved: tuple[tuple[int, float], ...] = ()
    slowly: bool = False
    restless: bool = False
    in_proportion: bool = False
    start: float = 0.0
    onset: float = 0.0
    inward: bool = False

    @property
    def exempt(self) -> bool:
        """Return whether the op itself may be at fault there, or not be meant for it."""
        return self.slowly or self.restless


@dataclass(frozen=True, slots=True)
class Look:
    """Hold what a look at a site shows: elements that are wrong there, and exemptions that were granted."""

    wrong: tuple[Away, ...] = ()
    exempted: tuple[Exemption, ...] = ()


def reason_not_to_look(lab: Lab, structured: bool = False) -> str | None:
    """Return why slopes away from the sample cannot be taken or mean nothing, None if they can.

    `structured`: inputs with a structure may be moved too, along the coordinates that keep it.
    """
    if not structured and not any(leaf.differentiated and leaf.is_free for leaf in lab.leaves):
        return "no input may be moved by itself"
    if lab.layout.inputs.width > LARGEST_INPUT:
        return "the inputs are large"
    if lab.case.intended:
        return "differences say nothing of rules that are `intended`"
    if any(measurement.declared == HELD for measurement in lab.known_measurements):
        return "differences see through tf.stop_gradient"
    if not lab.precision.alive.all():
        return "an output is no number at the sample"
    if not lab.precision.op.wide:
        return "the op cannot be run in float64"
    # Of the surrogate, where the op itself is a staircase.
    measured = lab.other if lab.case.surrogate and lab.other is not None else lab.precision
    return None if measured.trusted else "the op rounds to float32 or coarser inside"


def compare(lab: Lab, x: Array) -> tuple[Mask, Mask]:
    """Return where gradient and autodiff are numbers and differ at x, and where they are the same."""
    cotangent, nothing = lab.precision.point.cotangent, np.zeros(x.size, bool)
    there = replace(lab.precision.point, x=x)
    gradient = lab.gradient_near(there)
    autodiff = None if gradient is None else lab.autodiff(there)
    if gradient is None or autodiff is None:
        return nothing, nothing
    if largest(autodiff) > AMPLIFIED * max(largest(lab.gradient), largest(cotangent)):
        return nothing, nothing
    with np.errstate(all="ignore"):
        gap, size = np.abs(gradient - autodiff), np.fmax(np.abs(gradient), np.abs(autodiff))
        wrong = np.isfinite(gap) & (gap > SLOPE_RTOL * size + negligible(lab))
        return wrong, np.asarray(gap <= SAME_RTOL * size)


def look_at(lab: Lab, x: Array) -> Look:
    """Return where the gradient is no number or wrong at x, as differences there confirm."""
    op, narrow = lab.precision.op, own_point(lab, x)
    moved, x = moves_variables(lab, x), in_own_dtypes(lab, x)
    values = refused(lambda: op.value(x))
    if values is None or not np.isfinite(values).all():
        return Look()
    there = replace(lab.precision.point, x=x)
    cotangent = there.cotangent
    gradient = lab.gradient_near(there)
    # With other values of variables the op runs in the widest precision only.
    own = None if moved else refused(lambda: lab.run(values=narrow, upstream=lab.unpack_upstream(cotangent)))
    if gradient is None or (own is None and not moved):
        return Look()
    native = gradient if own is None else own_gradient(lab, own)
    autodiff = lab.autodiff(there)
    suspicious = ~np.isfinite(gradient)
    if own is not None:
        suspicious |= ~np.isfinite(native) & np.isfinite(own_values(lab, own)).all()
    suspicious &= _in_reach(lab, x, suspicious, narrow, cotangent)
    asked = _asked(gradient, autodiff, suspicious, negligible(lab))
    point = _measured(lab, x, values, cotangent) if asked.size else None
    if point is None:
        return Look()
    rng = lab.rng("far differences")
    found = assess(point, np.nan_to_num(gradient), tolerance_of(lab, lab.precision), rng, asked)
    witness = None if autodiff is None else autodiff[asked]
    accused = _contradicted(gradient[asked], witness, found, negligible(lab))
    verdict = judge(
        Discrepancy(point, asked, gradient[asked], found.value, accused, found, witness, sampled=False), lab
    )
    chosen = verdict.blamed | (suspicious[asked] & _finite_slope(lab, found))
    wrong = [
        Away(int(i), float(x[i]), float(native[i]) if suspicious[i] else float(gradient[i]),
             None if autodiff is None else float(autodiff[i]), float(found.value[k]), float(found.tolerance[k]),
             bool(suspicious[i]))
        for k, i in enumerate(asked) if chosen[k]
    ]  # fmt: skip
    return Look(tuple(wrong), verdict.exemptions)


def contradicted_at(lab: Lab, x: Array) -> tuple[Away, ...]:
    """Return where a smooth difference contradicts gradient and autodiff alike at x: both may have one mistake."""
    values = refused(lambda: lab.precision.op.value(x))
    there = replace(lab.precision.point, x=x)
    gradient = lab.gradient_near(there)
    autodiff = None if gradient is None else lab.autodiff(there)
    if values is None or not np.isfinite(values).all() or gradient is None or autodiff is None:
        return ()
    with np.errstate(all="ignore"):
        same = np.abs(gradient - autodiff) <= SAME_RTOL * np.fmax(np.abs(gradient), np.abs(autodiff))
    asked = np.flatnonzero(same)[:ASKED_AT_ONCE]
    point = _measured(lab, x, values, there.cotangent) if asked.size else None
    if point is None:
        return ()
    found = assess(point, gradient, tolerance_of(lab, lab.precision), lab.rng("zeros"), asked)
    smooth = np.isin(found.label, (Label.SMOOTH, Label.FLAT))
    accused = _contradicted(gradient[asked], None, found, negligible(lab)) & smooth
    discrepancy = Discrepancy(
        point, asked, gradient[asked], found.value, accused, found, autodiff[asked], sampled=False
    )
    blamed = judge(discrepancy, lab).blamed
    return tuple(
        Away(int(i), float(x[i]), float(gradient[i]), float(autodiff[i]), float(found.value[k]),
             float(found.tolerance[k]), False)
        for k, i in enumerate(asked) if blamed[k]
    )  # fmt: skip


def _in_reach(lab: Lab, x: Array, suspicious: Mask, values: Arrays, cotangent: Array) -> Mask:
    """Return where a gradient that is no number counts, by how far out that is."""
    if not lab.custom:
        return np.abs(x) <= PLAIN_REACH
    near = np.abs(x) <= SHARED_REACH
    if not (suspicious & ~near).any():
        return near
    plain = lab.run_plain(values=values, upstream=lab.unpack_upstream(cotangent))
    return near if plain is None else near | np.isfinite(own_gradient(lab, plain))


def _asked(gradient: Array, autodiff: Array | None, suspicious: Mask, typical: float) -> NDArray[np.int64]:
    """Return the coordinates worth a finite difference: not finite, or not what autodiff says."""
    odd = suspicious.copy()
    if autodiff is None:
        odd[:] = True
    else:
        with np.errstate(all="ignore"):
            size = np.fmax(np.abs(gradient), np.abs(autodiff))
            odd |= ~np.isfinite(autodiff) | (np.abs(gradient - autodiff) > AUTODIFF_RTOL * size + typical)
    return np.where(odd)[0][:ASKED_AT_ONCE]


def _contradicted(gradient: Array, autodiff: Array | None, found: Assessment, typical: float) -> Mask:
    """Return where a difference contradicts the gradient and autodiff does not contradict the difference."""
    with np.errstate(all="ignore"):
        size = np.fmax(np.abs(gradient), np.abs(found.value))
        gap = np.abs(gradient - found.value)
        clear = (found.outcome == Outcome.WRONG) & (gap > SLOPE_RTOL * size + typical)
        if autodiff is None:
            return np.asarray(clear)
        agree = np.abs(autodiff - found.value) <= SLOPE_RTOL * np.abs(found.value) + found.error
        return np.asarray(clear & (agree | ~np.isfinite(autodiff)))


def is_degenerate(wrong: Away) -> bool:
    """Return whether several zeros together leave neither the gradient nor autodiff a number.

    So do a matrix without full rank and a vector without direction; at one zero it is a division.
    """
    shared = wrong.own_dtype and (wrong.autodiff is None or not np.isfinite(wrong.autodiff))
    return shared and len(wrong.moved) > 1 and all(value == 0 for _, value in wrong.moved)


def brought_near(lab: Lab, wrong: Sequence[Away], far: Array) -> list[Away]:
    """Return what is wrong at `far`, each with only the coordinates away that must be, without what overflows alike."""
    near = [_narrowed(lab, w, far) if w.own_dtype else followed(lab, w, far) for w in wrong]
    return [w for w in near if not _overflows_alike(lab, w)]


def _narrowed(lab: Lab, wrong: Away, far: Array) -> Away:
    """Return what is no number with the coordinates that must be away for it."""

    def nonfinite(x: Array) -> bool:
        run = refused(lambda: lab.run(values=own_point(lab, x)))
        if run is None:
            return False
        finite = np.isfinite(own_values(lab, run)).all()
        return bool(finite and not np.isfinite(own_gradient(lab, run)[wrong.coordinate]))

    chosen = needed(nonfinite, lab.vector(), far) if nonfinite(far) else np.zeros(0, np.int64)
    return replace(wrong, moved=tuple((int(i), float(far[i])) for i in chosen))


def _overflows_alike(lab: Lab, wrong: Away) -> bool:
    """Return whether TensorFlow's own gradient is no number either, where inputs that are far out make one so."""
    farthest = max((abs(value) for _, value in wrong.moved), default=0.0)
    if not (wrong.own_dtype and lab.custom) or farthest <= SHARED_REACH:
        return False
    x = lab.vector().copy()
    x[[coordinate for coordinate, _ in wrong.moved]] = [value for _, value in wrong.moved]
    plain = lab.run_plain(values=own_point(lab, x))
    return plain is not None and not np.isfinite(own_gradient(lab, plain)[wrong.coordinate])


def followed(lab: Lab, wrong: Away, far: Array) -> Away:
    """Return what is wrong with the coordinates that must be away, and how the gap grows on the way there.

    An iteration that does not converge there gives slopes without any order, which nobody means either.
    """
    sample, tiny = lab.vector(), negligible(lab)

    def gap(x: Array) -> float:
        there = replace(lab.precision.point, x=x)
        gradient, autodiff = lab.gradient_near(there), lab.autodiff(there)
        if gradient is None or autodiff is None:
            return float("inf")
        g, a = gradient[wrong.coordinate], autodiff[wrong.coordinate]
        if not (np.isfinite(g) and np.isfinite(a)):
            return float("inf")
        size = max(abs(g), abs(a))
        return max(0.0, float(abs(g - a)) - tiny) / size if size else 0.0

    if wrong.autodiff is None:
        return wrong
    chosen = needed(lambda x: SEEN < gap(x) < np.inf, sample, far)
    alone = moved(sample, far, chosen)
    grows = bool(np.any(np.abs(alone[chosen]) > np.abs(sample[chosen])))
    # Constants that float32 has rounded put two right formulas apart from the beginning.
    rounded = CONSTANT_ROUNDINGS * lab.precision.op.constants_roundoff
    first, last = onsets(gap, sample, alone, max(UNSEEN, rounded))
    begin, onset = (sample + share * (alone - sample) for share in (first, last))
    gradual = grows_slowly(first, last) or fades(begin[chosen], onset[chosen])
    in_proportion = gradual and proportional(gap, sample, alone)
    slowly = grows and np.isfinite(gap(alone)) and gradual and not in_proportion
    restless = any(in_disorder(lab, wrong.coordinate, x, sample, chosen) for x in _beyond(sample, onset, alone))
    places = tuple((int(i), float(alone[i])) for i in chosen)
    start = float(sample[chosen[0]]) if chosen.size else 0.0
    return replace(
        wrong,
        moved=places,
        slowly=slowly,
        restless=restless,
        in_proportion=in_proportion,
        start=start,
        onset=float(onset[chosen[0]]) if chosen.size else 0.0,
        inward=not grows,
    )


def _beyond(sample: Array, onset: Array, alone: Array) -> list[Array]:
    """Return points beyond the place where a gap begins, up to as far as the sample lies before it."""
    before, behind = onset - sample, alone - onset
    way = np.where(np.abs(before) < np.abs(behind), before, behind)
    return [onset + share * way for share in BEYOND_ONSET]


def negligible(lab: Lab) -> float:
    """Return what is tiny against the gradient at the sample: far out it is rounding."""
    return NEGLIGIBLE * max((largest(m.gradient) for m in lab.measurements), default=0.0)


def _finite_slope(lab: Lab, found: Assessment) -> Mask:
    """Return where differences settle, at a number that the dtype can hold; of a slope of zero only noise is seen."""
    most = LARGEST_SLOPE if lab.dtype.startswith("complex") else OVERFLOW_MARGIN * largest_number(lab.dtype)
    settled = np.isin(found.label, (Label.SMOOTH, Label.FLAT, Label.EDGE))
    with np.errstate(all="ignore"):
        near_zero = np.abs(found.value) + found.error <= SLOPE_RTOL * largest(lab.gradient)
        settled |= (found.label == Label.NOISY) & near_zero
        return np.asarray(settled & (np.abs(found.value) < most) & np.isfinite(found.value))


def _measured(lab: Lab, x: Array, values: Array, cotangent: Array) -> Point | None:
    """Return the function whose slopes are meant, at x: the op itself or its surrogate."""
    rng, other = lab.rng("far differences"), lab.other
    if other is None or not lab.case.surrogate:
        return lab.precision.point.elsewhere(x, values, cotangent, rng)
    found = refused(lambda: other.op.value(x))
    return None if found is None or not np.isfinite(found).all() else other.point.elsewhere(x, found, cotangent, rng)
