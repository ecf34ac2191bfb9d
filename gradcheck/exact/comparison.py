# SPDX-License-Identifier: Apache-2.0
"""Do two gradients agree in ball arithmetic: the derivative of a forward along directions, and what a rule gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flint import arb

from gradcheck.exact.balls import ZERO, Balls, Dual, lift
from gradcheck.exact.thresholds import EXACT_DIGITS
from gradcheck.results import DIFFERENT, IDENTICAL, OPEN


@dataclass(frozen=True, slots=True)
class Along:
    """Hold, for one direction, <upstream, J v> and <gradient, v>, and the sum of the sizes of their terms."""

    reference: Any
    analytic: Any
    scale: Any

    @property
    def gap(self) -> Any:
        """Return the difference."""
        return self.analytic - self.reference

    @property
    def digits(self) -> float:
        """Return how many digits agree: relative to the terms, of terms that all vanish relative to one."""
        if self.gap.is_zero():
            return math.inf
        return float((self._unit / self.gap.abs_upper()).log()) / math.log(10)

    @property
    def size(self) -> float:
        """Return the size of the difference, relative to the terms."""
        return float((abs(self.gap) / self._unit).abs_upper())

    @property
    def _unit(self) -> Any:
        return self.scale.abs_lower() if not self.scale.contains(0) else arb(1)


def along(
    outputs: Sequence[Dual], upstream: Sequence[Any], gradients: Sequence[Dual | None], directions: Sequence[Any]
) -> list[Along]:
    """Return both sides for each direction: one list of arrays per direction, one array per gradient."""
    found = []
    for number, moved in enumerate(directions):
        reference = [_terms(o.slopes[number], u) for o, u in zip(outputs, upstream, strict=True) if o.slopes]
        analytic = [_terms(g.value, v) for g, v in zip(gradients, moved, strict=True) if g is not None]
        found.append(Along(_sum(reference), _sum(analytic), _sum(reference, True) + _sum(analytic, True)))
    return found


def beside(declared: Sequence[Dual | None], gradients: Sequence[Dual | None], directions: Sequence[Any]) -> list[Along]:
    """Return a declared gradient and the one under test along each direction; None is zero."""
    found = []
    for moved in directions:
        reference, analytic = (
            [_terms(g.value, v) for g, v in zip(side, moved, strict=True) if g is not None]
            for side in (declared, gradients)
        )
        found.append(Along(_sum(reference), _sum(analytic), _sum(reference, True) + _sum(analytic, True)))
    return found


def _terms(balls: Balls, weights: Any) -> Balls:
    """Return the products of weights and balls that are not zero, of complex ones the real inner product."""
    chosen = np.asarray(weights) != 0
    numbers = lift(np.conj(np.asarray(weights)[chosen])).value
    found = np.asarray(balls[chosen] * numbers, object)
    return np.frompyfunc(lambda z: z.real, 1, 1)(found) if np.iscomplexobj(weights) and found.size else found


def _sum(parts: Sequence[Balls], absolute: bool = False) -> Any:
    total = ZERO
    for part in parts:
        for term in part.ravel():
            total = total + (abs(term) if absolute else term)
    return total


def verdict(found: Sequence[Along], least: int = EXACT_DIGITS) -> tuple[str, int, float]:
    """Return what balls say of all directions, how many digits agree, and how large the difference is.

    At least `least` digits have to agree of what is identical.
    """
    if any(not pair.gap.is_finite() for pair in found):
        return OPEN, 0, 0.0
    apart = [pair for pair in found if not pair.gap.contains(0)]
    if apart:
        worst = max(pair.size for pair in apart)
        return DIFFERENT, max(0, math.floor(-math.log10(worst))) if worst else 0, worst
    digits = min((pair.digits for pair in found), default=math.inf)
    if digits < least:
        return OPEN, max(0, math.floor(digits)), 0.0
    return IDENTICAL, math.floor(min(digits, 99)), 0.0


def common_factor(found: Sequence[Along], least: float) -> float | None:
    """Return the one factor, less one, between both sides of every direction; None if there is no such factor."""
    ratios = [pair.gap / pair.reference for pair in found if not pair.reference.contains(0)]
    if not ratios or any(pair.reference.is_zero() and not pair.gap.contains(0) for pair in found):
        return None
    middle = ratios[0].mid()
    if any(not abs((ratio - middle).mid()) <= least * abs(middle) for ratio in ratios):
        return None
    return float(middle)
