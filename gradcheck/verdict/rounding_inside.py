# SPDX-License-Identifier: Apache-2.0
"""Exemptions of what rounding inside of a gradient does: terms that cancel, a rule in float32, rounded constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from gradcheck.differences.assess import Outcome
from gradcheck.differences.vector_function import Point
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.closeness import largest
from gradcheck.verdict.discrepancy import Discrepancy, Mask
from gradcheck.verdict.tolerances import (
    CONDITIONING_FACTOR,
    DIFFERENCE_RTOL,
    DOUBLE_ROUNDOFF,
    LARGER_BY,
    NEARBY_SHARES,
    OTHER_SIDE,
    ROUNDING_DRAWS,
    ROUNDINGS_TRIED,
    SLOPE_RTOL,
    TAKEN_AWAY,
    UNLIKE,
)
from gradcheck.verdict.witness import Witness


def rounding_there(d: Discrepancy, op: Witness) -> Mask:
    """Return where the gradients at points that are moved by a rounding lie as far from one another.

    Away from the sample terms that cancel may be large; at the sample the tolerance has room for it, but for a rule
    in float32 of an op in half precision.  A gradient that is another one at this very point only is no rounding.
    """
    if d.sampled and not op.rounds_to_half:
        return d.nothing
    found = _of_other_upstreams(d, op)
    covered = _on_either_side(d, op) if _rounds_inside(d, found) else d.nothing
    if not d.sampled:
        found += _moved_by_a_rounding(d, op, op.gradient_near)
    with np.errstate(all="ignore"):
        apart = np.max(found, axis=0) - np.min(found, axis=0) if found else np.zeros(d.found.size)
        moved = np.where(np.isfinite(apart) & ~_on_two_levels(d, found), apart, 0.0)
        size = np.fmax(np.abs(d.found), np.abs(d.wanted))
        slack = 0.0 if d.sampled else SLOPE_RTOL * size
        return np.asarray(covered | (np.abs(d.found - d.wanted) <= slack + CONDITIONING_FACTOR * moved))


def ill_conditioned(d: Discrepancy, op: Witness) -> Mask:
    """Return where differences decide nothing, and a rounding of the inputs makes another gradient and autodiff.

    A matrix that is singular there, but for roundings, gives any numbers.
    """
    open_ = d.elements & (d.assessment.outcome == Outcome.UNDECIDED)
    if d.autodiff is None or not open_.any():
        return d.nothing
    own, bare = (_moved_by_a_rounding(d, op, take) for take in (op.gradient_near, op.autodiff))
    if min(len(own), len(bare)) < 2:
        return d.nothing
    own, bare = [d.found, *own], [d.autodiff, *bare]
    if not (_all_unlike(own) and _all_unlike(bare)):
        return d.nothing
    with np.errstate(all="ignore"):
        moved = np.ptp(own, axis=0) + np.ptp(bare, axis=0)
        return np.asarray(open_ & (np.abs(d.found - d.autodiff) <= CONDITIONING_FACTOR * moved))


def _all_unlike(found: Sequence[Array]) -> bool:
    """Return whether every two of several gradients differ by a good part of their size."""
    with np.errstate(all="ignore"):
        pairs = [(largest(a - b), max(largest(a), largest(b))) for a, b in combinations(found, 2)]
    return all(gap > UNLIKE * size for gap, size in pairs)


def _rounds_inside(d: Discrepancy, scaled: Sequence[Array]) -> bool:
    """Return whether gradients of upstreams that differ by a factor differ by more than float64 rounds."""
    with np.errstate(all="ignore"):
        gaps = [np.abs(there - d.found) > DOUBLE_ROUNDOFF * np.abs(d.found) for there in scaled]
    return bool(np.any(gaps))


def _on_two_levels(d: Discrepancy, found: Sequence[Array]) -> Mask:
    """Return where each gradient beside the point is either the one at the point or the wanted one.

    Roundings give many values; a condition of grad_fn that turns at the point, as at an end of a domain, gives two.
    """
    if not found:
        return d.nothing
    there, gap = np.stack(found), np.abs(d.found - d.wanted)
    wanted = np.abs(there - d.wanted) <= TAKEN_AWAY * gap
    own = np.abs(there - d.found) <= TAKEN_AWAY * gap
    return np.asarray((wanted | own).all(axis=0) & wanted.any(axis=0))


def _moved_by_a_rounding(d: Discrepancy, op: Witness, take: Callable[[Point], Array | None]) -> list[Array]:
    """Return the gradients that `take` gives at some points where all that goes in is moved by a rounding."""
    rng, unit = op.rng("far rounding"), ROUNDINGS_TRIED * d.point.roundoff
    found: list[Array] = []
    for _ in range(ROUNDING_DRAWS):
        x = d.point.clipped(d.point.x * (1 + unit * rng.choice([-1.0, 1.0], d.point.x.size)))
        upstream = d.point.cotangent * (1 + unit * rng.choice([-1.0, 1.0], d.point.cotangent.size))
        there = take(replace(d.point, x=x, cotangent=upstream))
        if there is not None:
            found.append(there[d.coordinates])
    return found


def _of_other_upstreams(d: Discrepancy, op: Witness) -> list[Array]:
    """Return the gradients with the upstream a little larger, divided by as much: they are one, but for rounding.

    This shows a gradient that rounds to float32 inside where the forward does not: a small move of the inputs is
    lost in that rounding.
    """
    found: list[Array] = []
    for scale in 1 + LARGER_BY * op.rng("far upstream").random(ROUNDING_DRAWS):
        there = op.gradient_near(replace(d.point, cotangent=scale * d.point.cotangent))
        if there is not None:
            found.append(there[d.coordinates] / scale)
    return found


def _on_either_side(d: Discrepancy, op: Witness) -> Mask:
    """Return where the gap to autodiff has the other sign, and is no smaller by much, at a point close by.

    A rounding inside leaves another gap at each point, of any sign, as a saw has teeth; a mistake leaves about the
    same.
    """
    covered = d.nothing
    if d.autodiff is None:
        return covered
    own = d.found - d.autodiff
    for move in (sign * share for share in NEARBY_SHARES for sign in (1.0, -1.0)):
        there = replace(d.point, x=d.point.clipped(d.point.x * (1 + move)))
        gradient, autodiff = op.gradient_near(there), op.autodiff(there)
        if gradient is not None and autodiff is not None:
            with np.errstate(all="ignore"):
                gap = (gradient - autodiff)[d.coordinates]
                covered |= (np.sign(gap) * np.sign(own) < 0) & (np.abs(gap) >= OTHER_SIDE * np.abs(own))
    return covered


def rounded_constants(d: Discrepancy, op: Witness) -> Mask:
    """Return where the gap is gone with constants that were not rounded to float32 when the graph was rewritten.

    A gap that is gone as soon as the input moves by a rounding has nothing to do with constants: the gradient is
    another one at this very point, which equals a constant.
    """
    unrounded = op.unrounded(d.point)
    if unrounded is None:
        return d.nothing
    exact, autodiff = unrounded
    one_formula = d.nothing
    if autodiff is not None and d.autodiff is not None:
        one_formula = _one_formula(d, d.autodiff, exact[d.coordinates], autodiff[d.coordinates])
    if d.sampled:
        return one_formula
    with np.errstate(all="ignore"):
        gap = np.abs(d.found - d.wanted)
        gone = one_formula | (np.abs(exact[d.coordinates] - d.wanted) <= TAKEN_AWAY * gap)
        beside = [
            np.abs(there - d.wanted) <= TAKEN_AWAY * gap for there in _moved_by_a_rounding(d, op, op.gradient_near)
        ]
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
