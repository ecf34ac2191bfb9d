# SPDX-License-Identifier: Apache-2.0
"""Every reason not to blame a gradient that differs, in one list that holds for every check, the cheapest first.

An exemption covers elements: that one is exempt says nothing of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gradcheck.differences.assess import Outcome
from gradcheck.differences.ladder import Label
from gradcheck.differences.stencils import long_slopes, slopes_along
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.closeness import largest
from gradcheck.verdict.discrepancy import Discrepancy, Exemption, Mask, Verdict
from gradcheck.verdict.rounding_inside import ill_conditioned, rounded_constants, rounding_there
from gradcheck.verdict.tolerances import (
    APART_AT_TIE,
    CHAOTIC_GROWTH,
    CONTRADICTS,
    CONTRADICTS_RTOL,
    DOUBLE_ROUNDOFF,
    ITERATION_RTOL,
    LONG_STEP_RTOL,
    MEASURED_AGAIN,
    NEIGHBOUR_STEP,
    NEIGHBOURS,
    ONE_FACTOR,
    RESIDUAL_LEFT,
    RESIDUAL_RTOL,
    SAME_RTOL,
    SLOPE_RTOL,
)
from gradcheck.verdict.witness import Witness

PROVED = "exact arithmetic: the gradient is identical to the derivative"
CHAOS = "a change of one rounding grows to order one on its way through the op (chaos)"


@dataclass(frozen=True, slots=True)
class Rule:
    """Name a reason, the elements that it covers, and what differences then say of these."""

    reason: str
    covers: Callable[[Discrepancy, Witness], Mask]
    outcome: Outcome = Outcome.UNDECIDED
    label: Label | None = None


def outweighed(d: Discrepancy, op: Witness) -> Mask:
    """Return where gradient and autodiff are one result and the difference does not clearly contradict both.

    They outweigh any difference where the op rounds to half precision: the constants of forward
    and gradient are rounded differently then.
    """
    if d.autodiff is None:
        return d.nothing
    a, e = d.assessment, d.elements & (d.assessment.outcome == Outcome.WRONG)
    with np.errstate(all="ignore"):
        size = np.fmax(np.abs(d.found), np.abs(a.value))
        gap = np.abs(d.found - a.value)
        clear = (gap > CONTRADICTS * (a.tolerance + a.error)) & (gap > CONTRADICTS_RTOL * size)
    return np.asarray(e & _same(d) & (op.rounds_to_half | ~clear))


def unsteady(d: Discrepancy, op: Witness) -> Mask:
    """Return where a difference that stands alone is another one when it is taken anew.

    Noise that looks smooth once (a chaotic forward) gives another slope at other steps.
    """
    covered, alone = d.nothing, _alone(d)
    slopes = slopes_along(d.point, d.coordinates[alone], op.rng("again"))
    for i, slope in zip(alone, slopes, strict=True):
        value, error = d.assessment.value[i], d.assessment.error[i]
        covered[i] = not abs(slope.value - value) <= slope.error + error + SLOPE_RTOL * abs(value)
    return covered


def hidden_rounding(d: Discrepancy, op: Witness) -> Mask:
    """Return where differences over long steps agree with gradient and autodiff: fine ones see a rounding inside."""
    covered, alone = d.nothing, _alone(d)
    if alone.size:
        gradient = d.found[alone]
        with np.errstate(all="ignore"):
            gaps = np.abs(long_slopes(d.point, d.coordinates[alone]) - gradient)
            covered[alone] = (gaps <= LONG_STEP_RTOL * np.abs(gradient)).all(axis=0)
    return covered


def between_neighbours(d: Discrepancy, op: Witness) -> Mask:
    """Return where the gradient lies between autodiff's at points very close by.

    Where values tie, each coordinate alone may show no slope at all (the median of three equal
    numbers), and still the limit of the gradients from any side is right (Clarke, 1983).
    """
    covered = d.nothing
    accused = np.flatnonzero(d.elements & (d.assessment.outcome == Outcome.WRONG))
    if not accused.size or d.autodiff is None or d.point.roundoff > DOUBLE_ROUNDOFF:
        return covered
    rng, found, g = op.rng("neighbours"), [], d.found[accused]
    for _ in range(NEIGHBOURS):
        step = NEIGHBOUR_STEP * d.point.sizes * rng.uniform(-1.0, 1.0, d.point.x.size)
        there = op.autodiff(replace(d.point, x=d.point.x + step))
        if there is not None:
            found.append(there[d.coordinates[accused]])
            covered[accused] = _among(found, g)
        if covered[accused].all():
            break
    return covered


def _among(found: Sequence[Array], g: Array) -> Mask:
    """Return where a gradient lies between others that are apart: close neighbours of a smooth point agree."""
    low, high = np.min(found, axis=0), np.max(found, axis=0)
    with np.errstate(all="ignore"):
        size = np.fmax(np.abs(low), np.abs(high))
        margin = SAME_RTOL * size
        return np.asarray((high - low > APART_AT_TIE * size) & (g >= low - margin) & (g <= high + margin))


def bent(d: Discrepancy, op: Witness) -> Mask:
    """Return where gradient and autodiff are one result and an op of the forward bends just there.

    What a smooth function is put together of may bend: of the maximum of x and sin(x) each framework has, at 0, the
    slope of one of its parts.
    """
    same = d.nothing if d.autodiff is None else d.elements & _same(d)
    return same if same.any() and op.steering is not None and op.steering.bends_at(d.point.x) else d.nothing


def proved(d: Discrepancy, op: Witness) -> Mask:
    """Return the elements of the sample, where exact arithmetic finds gradient and derivative identical."""
    return d.elements.copy() if d.sampled and op.proved else d.nothing


def chaotic(d: Discrepancy, op: Witness) -> Mask:
    """Return where gradient and autodiff are one result and every difference of the op is out of proportion."""
    if d.autodiff is None:
        return d.nothing
    same = d.elements & _same(d)
    return same if same.any() and op.growth > CHAOTIC_GROWTH else d.nothing


def at_an_edge(d: Discrepancy, op: Witness) -> Mask:
    """Return where a difference sees one side only, at an end of the domain, and autodiff is the gradient.

    At such a place every framework has conventions: the slope of |x| is 0 at 0.
    """
    return d.nothing if d.autodiff is None else d.elements & _same(d) & (d.assessment.label == Label.EDGE)


def unconverged(d: Discrepancy, op: Witness) -> Mask:
    """Return where an iteration may not have gone further: its own tolerance leaves a small gap, a factor one factor.

    The gradient of what it converges to is meant, the differences are those of the steps that were made.
    """
    with np.errstate(all="ignore"):
        small = d.elements & (np.abs(d.found - d.wanted) <= ITERATION_RTOL * np.fmax(np.abs(d.found), np.abs(d.wanted)))
        seen = d.elements & (d.wanted != 0)
        ratios, inputs = (d.found / d.wanted - 1)[seen], np.unique(d.point.x[d.coordinates[seen]])
    if not op.iterates:
        return _gone_where_it_converges(d, op, small)
    if d.sampled and inputs.size > 2 and np.ptp(ratios) <= ONE_FACTOR * np.abs(ratios).max():
        return d.nothing
    return small


def _gone_where_it_converges(d: Discrepancy, op: Witness, small: Mask) -> Mask:
    """Return where a tiny gap to autodiff is gone at half of the inputs, as if a power of them with many steps left it.

    A fixed number of steps that contract (a fixed point, an equilibrium) leaves its last residual; a mistake shrinks
    as a term of the gradient does.
    """
    if d.autodiff is None:
        return d.nothing
    tiny = small & (np.abs(d.found - d.autodiff) <= RESIDUAL_RTOL * largest(d.found))
    if not tiny.any():
        return d.nothing
    half = replace(d.point, x=d.point.clipped(d.point.x / 2))
    gradient, autodiff = op.gradient_near(half), op.autodiff(half)
    if gradient is None or autodiff is None:
        return d.nothing
    with np.errstate(all="ignore"):
        left = np.abs(gradient - autodiff)[d.coordinates]
        return np.asarray(tiny & (left <= RESIDUAL_LEFT * np.abs(d.found - d.autodiff)))


EXEMPTIONS = (
    Rule(PROVED, proved),
    Rule("an end of the domain: a difference sees one side only, and autodiff agrees with the gradient", at_an_edge),
    Rule("gradient and autodiff agree, and the finite difference does not clearly contradict them", outweighed),
    Rule(
        "the finite difference is another one when it is taken anew, and autodiff agrees with the gradient",
        unsteady,
        label=Label.NOISY,
    ),
    Rule(
        "finite differences over long steps agree with the gradient: fine ones see a rounding inside the op",
        hidden_rounding,
        label=Label.NOISY,
    ),
    Rule(CHAOS, chaotic, label=Label.NOISY),
    Rule("an iteration stops at a tolerance of its own", unconverged),
    Rule("rounding of terms that cancel explains the difference there", rounding_there),
    Rule(
        "a rounding of the inputs makes another gradient there, and another one of autodiff (a singular matrix)",
        ill_conditioned,
        label=Label.NOISY,
    ),
    Rule(
        "only the rounding of the op's constants to float32 makes the difference there",
        rounded_constants,
        Outcome.AGREES,
    ),
    Rule(
        "the gradient lies between those of points close by (a tie or a kink)",
        between_neighbours,
        Outcome.AGREES,
        Label.KINK,
    ),
    Rule("an op of the forward bends just there, and the gradient is autodiff's", bent, label=Label.KINK),
)


def judge(d: Discrepancy, op: Witness, rules: tuple[Rule, ...] | None = None) -> Verdict:
    """Return which of the accused elements stay blamed when every exemption (or each of `rules`) was tried."""
    blamed, granted = d.elements.copy(), []
    for rule in EXEMPTIONS if rules is None else rules:
        if not blamed.any():
            break
        covered = rule.covers(d.only(blamed), op) & blamed
        if covered.any():
            granted.append(Exemption(rule.reason, covered, rule.outcome, rule.label))
            blamed &= ~covered
    return Verdict(blamed, tuple(granted))


def _same(d: Discrepancy) -> Mask:
    """Return where gradient and autodiff are one result."""
    assert d.autodiff is not None
    with np.errstate(all="ignore"):
        size = np.fmax(np.abs(d.found), np.abs(d.autodiff))
        return np.asarray(np.abs(d.found - d.autodiff) <= SAME_RTOL * size)


def _alone(d: Discrepancy) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the accused elements at which the difference stands alone against gradient and autodiff."""
    if d.autodiff is None:
        return np.zeros(0, np.int64)
    return np.flatnonzero(d.elements & (d.assessment.outcome == Outcome.WRONG) & _same(d))[:MEASURED_AGAIN]
