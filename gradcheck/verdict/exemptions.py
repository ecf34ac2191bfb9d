# SPDX-License-Identifier: Apache-2.0
"""Every reason not to blame a gradient that differs, in one list that holds for every check, the cheapest first.

An exemption covers elements: that one is exempt says nothing of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from gradcheck.differences.assess import Outcome
from gradcheck.differences.ladder import Label
from gradcheck.differences.stencils import long_slopes, slopes_along
from gradcheck.differences.vector_function import Point
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.closeness import largest
from gradcheck.verdict.discrepancy import Discrepancy, Exemption, Mask, Verdict
from gradcheck.verdict.tolerances import (
    APART_AT_TIE,
    CHAOTIC_GROWTH,
    CONDITIONING_FACTOR,
    CONTRADICTS,
    CONTRADICTS_RTOL,
    DIFFERENCE_RTOL,
    DOUBLE_ROUNDOFF,
    ITERATION_RTOL,
    LARGER_UPSTREAM,
    LONG_STEP_RTOL,
    MEASURED_AGAIN,
    NEIGHBOUR_STEP,
    NEIGHBOURS,
    ROUNDING_DRAWS,
    ROUNDINGS_TRIED,
    SAME_RTOL,
    SLOPE_RTOL,
    TAKEN_AWAY,
)

PROVED = "exact arithmetic: the gradient is identical to the derivative"
CHAOS = "a change of one rounding grows to order one on its way through the op (chaos)"


class Witness(Protocol):
    """Offer what an exemption may ask of the op: gradients in the widest precision, and random numbers."""

    @property
    def rounds_to_half(self) -> bool:
        """Return whether the op rounds to half precision somewhere."""

    @property
    def growth(self) -> float:
        """Return how many times as large a relative change of the inputs comes out of the op."""

    @property
    def proved(self) -> bool:
        """Return whether exact arithmetic shows that the gradient is the derivative at the sample, if it was asked."""

    @property
    def iterates(self) -> bool:
        """Return whether a loop in the op ends when floating numbers say so."""

    def gradient_near(self, point: Point) -> Array | None:
        """Return the gradient under test at a point, None if the op refuses it."""

    def autodiff(self, point: Point) -> Array | None:
        """Return the gradient of the bare forward at a point, None if there is none."""

    def unrounded(self, point: Point) -> tuple[Array, Array | None] | None:
        """Return gradient and autodiff with constants that are not rounded to float32, None if there are none."""

    def rng(self, *names: str) -> np.random.Generator:
        """Return the random stream of these names."""


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
        return _nothing(d)
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
    covered, alone = _nothing(d), _alone(d)
    slopes = slopes_along(d.point, d.coordinates[alone], op.rng("again"))
    for i, slope in zip(alone, slopes, strict=True):
        value, error = d.assessment.value[i], d.assessment.error[i]
        covered[i] = not abs(slope.value - value) <= slope.error + error + SLOPE_RTOL * abs(value)
    return covered


def hidden_rounding(d: Discrepancy, op: Witness) -> Mask:
    """Return where differences over long steps agree with gradient and autodiff: fine ones see a rounding inside."""
    covered, alone = _nothing(d), _alone(d)
    if alone.size:
        gradient = d.found[alone]
        with np.errstate(all="ignore"):
            gaps = np.abs(long_slopes(d.point, d.coordinates[alone]) - gradient)
            covered[alone] = (gaps <= LONG_STEP_RTOL * np.abs(gradient)).all(axis=0)
    return covered


def rounding_there(d: Discrepancy, op: Witness) -> Mask:
    """Return where the gradients at points that are moved by a rounding lie as far from one another.

    Away from the sample terms that cancel may be large; at the sample the tolerance has room for it.
    A gradient that is another one at this very point only is no rounding.
    """
    if d.sampled:
        return _nothing(d)
    found = [*_moved_by_a_rounding(d, op), *_of_other_upstreams(d, op)]
    with np.errstate(all="ignore"):
        apart = np.max(found, axis=0) - np.min(found, axis=0) if found else np.zeros(d.found.size)
        moved = np.where(np.isfinite(apart) & ~_on_two_levels(d, found), apart, 0.0)
        size = np.fmax(np.abs(d.found), np.abs(d.wanted))
        return np.asarray(np.abs(d.found - d.wanted) <= SLOPE_RTOL * size + CONDITIONING_FACTOR * moved)


def _on_two_levels(d: Discrepancy, found: Sequence[Array]) -> Mask:
    """Return where each gradient beside the point is either the one at the point or the wanted one.

    Roundings give many values; a condition of grad_fn that turns at the point, as at an end of a domain, gives two.
    """
    if not found:
        return _nothing(d)
    there, gap = np.stack(found), np.abs(d.found - d.wanted)
    wanted = np.abs(there - d.wanted) <= TAKEN_AWAY * gap
    own = np.abs(there - d.found) <= TAKEN_AWAY * gap
    return np.asarray((wanted | own).all(axis=0) & wanted.any(axis=0))


def _moved_by_a_rounding(d: Discrepancy, op: Witness) -> list[Array]:
    """Return the gradients at some points where all that goes in is moved by a rounding."""
    rng, unit = op.rng("far rounding"), ROUNDINGS_TRIED * d.point.roundoff
    found: list[Array] = []
    for _ in range(ROUNDING_DRAWS):
        x = d.point.clipped(d.point.x * (1 + unit * rng.choice([-1.0, 1.0], d.point.x.size)))
        upstream = d.point.cotangent * (1 + unit * rng.choice([-1.0, 1.0], d.point.cotangent.size))
        there = op.gradient_near(replace(d.point, x=x, cotangent=upstream))
        if there is not None:
            found.append(there[d.coordinates])
    return found


def _of_other_upstreams(d: Discrepancy, op: Witness) -> list[Array]:
    """Return the gradients with the upstream a little larger, divided by as much: they are one, but for rounding.

    This shows a gradient that rounds to float32 inside where the forward does not, as a small move of the inputs
    may not: it is lost in that rounding.
    """
    found: list[Array] = []
    for scale in 1 + LARGER_UPSTREAM * op.rng("far upstream").random(ROUNDING_DRAWS):
        there = op.gradient_near(replace(d.point, cotangent=scale * d.point.cotangent))
        if there is not None:
            found.append(there[d.coordinates] / scale)
    return found


def rounded_constants(d: Discrepancy, op: Witness) -> Mask:
    """Return where the gap is gone with constants that were not rounded to float32 when the graph was rewritten.

    A gap that is gone as soon as the input moves by a rounding has nothing to do with constants: the gradient is
    another one at this very point, which equals a constant.
    """
    unrounded = op.unrounded(d.point)
    if unrounded is None:
        return _nothing(d)
    exact, autodiff = unrounded
    one_formula = _nothing(d)
    if autodiff is not None and d.autodiff is not None:
        one_formula = _one_formula(d, d.autodiff, exact[d.coordinates], autodiff[d.coordinates])
    if d.sampled:
        return one_formula
    with np.errstate(all="ignore"):
        gap = np.abs(d.found - d.wanted)
        gone = one_formula | (np.abs(exact[d.coordinates] - d.wanted) <= TAKEN_AWAY * gap)
        beside = [np.abs(there - d.wanted) <= TAKEN_AWAY * gap for there in _moved_by_a_rounding(d, op)]
        return np.asarray(gone & ~np.all(beside, axis=0) if beside else gone)


def _one_formula(d: Discrepancy, rounded: Array, exact: Array, autodiff: Array) -> Mask:
    """Return where gradient and autodiff are one result with exact constants and another one with `rounded` ones.

    Where terms of the gradient cancel, what rounding makes of a constant is many digits of what is left.  An op that
    does something else in float64 moves by more.
    """
    with np.errstate(all="ignore"):
        left = TAKEN_AWAY * np.abs(d.found - d.wanted)
        same = (np.abs(exact - autodiff) <= left) & (np.abs(d.found - rounded) > left)
        scale = max(largest(d.found), largest(d.point.cotangent))
        return np.asarray(same & (np.abs(exact - d.found) <= DIFFERENCE_RTOL * scale))


def between_neighbours(d: Discrepancy, op: Witness) -> Mask:
    """Return where the gradient lies between autodiff's at points very close by.

    Where values tie, each coordinate alone may show no slope at all (the median of three equal
    numbers), and still the limit of the gradients from any side is right (Clarke, 1983).
    """
    covered = _nothing(d)
    accused = np.flatnonzero(d.elements & (d.assessment.outcome == Outcome.WRONG))
    if not accused.size or d.autodiff is None or d.point.roundoff > DOUBLE_ROUNDOFF:
        return covered
    rng, found = op.rng("neighbours"), []
    for _ in range(NEIGHBOURS):
        step = NEIGHBOUR_STEP * d.point.sizes * rng.uniform(-1.0, 1.0, d.point.x.size)
        there = op.autodiff(replace(d.point, x=d.point.x + step))
        if there is not None:
            found.append(there[d.coordinates[accused]])
    if not found:
        return covered
    low, high, g = np.min(found, axis=0), np.max(found, axis=0), d.found[accused]
    with np.errstate(all="ignore"):
        # Close neighbours of a smooth point agree, and say nothing new.
        apart = high - low > APART_AT_TIE * np.fmax(np.abs(low), np.abs(high))
        margin = SAME_RTOL * np.fmax(np.abs(low), np.abs(high))
        covered[accused] = apart & (g >= low - margin) & (g <= high + margin)
    return covered


def proved(d: Discrepancy, op: Witness) -> Mask:
    """Return the elements of the sample, where exact arithmetic finds gradient and derivative identical."""
    return d.elements.copy() if d.sampled and op.proved else _nothing(d)


def chaotic(d: Discrepancy, op: Witness) -> Mask:
    """Return where gradient and autodiff are one result and every difference of the op is out of proportion."""
    if d.autodiff is None:
        return _nothing(d)
    same = d.elements & _same(d)
    return same if same.any() and op.growth > CHAOTIC_GROWTH else _nothing(d)


def at_an_edge(d: Discrepancy, op: Witness) -> Mask:
    """Return where a difference sees one side only, at an end of the domain, and autodiff is the gradient.

    At such a place every framework has conventions: the slope of |x| is 0 at 0.
    """
    return _nothing(d) if d.autodiff is None else d.elements & _same(d) & (d.assessment.label == Label.EDGE)


def unconverged(d: Discrepancy, op: Witness) -> Mask:
    """Return where, away from the sample, an iteration may not have gone further: its own tolerance is a small gap.

    The gradient of what it converges to is meant, the differences are those of the steps that were made.
    """
    if d.sampled or not op.iterates:
        return _nothing(d)
    with np.errstate(all="ignore"):
        size = np.fmax(np.abs(d.found), np.abs(d.wanted))
        return np.asarray(d.elements & (np.abs(d.found - d.wanted) <= ITERATION_RTOL * size))


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


def _nothing(d: Discrepancy) -> Mask:
    return np.zeros(d.found.size, bool)
