# SPDX-License-Identifier: Apache-2.0
"""Decide about a long gradient: along random directions, and element by element only where something is wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradcheck.differences.assess import LADDER_LIMIT, Assessment, Outcome, Tolerance, assess
from gradcheck.differences.bisection import directions_agree, suspects
from gradcheck.differences.ladder import Label
from gradcheck.differences.vector_function import Point
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.chunks import chunks_of

# The rounding of an autodiff gradient in float64, against output size over input size.
AUTODIFF_NOISE = 2.0**-46
# So many elements at which a gradient stands alone are measured.
CONTESTED = 64
# Coordinates of independent blocks share evaluations; without blocks each takes its own.
SHOWN, SHOWN_OF_BLOCKS = 8, 32
# A gradient that is wrong at this share of a sample is wrong all over: halving would go on for long, and
# a larger sample says as much.
WIDESPREAD, SAMPLED = 0.5, 24
# Of many elements that are apart from autodiff so many of the worst, and as many others, are measured,
# the first of them by ladders; this share of them has to be what autodiff says.
MEASURED, CLIMBED, CONFIRMED = 10, 4, 0.5
# A test along a direction takes up to eight evaluations, a ladder 26.
TESTS_PER_LADDER = 3

# What is held of elements that were not measured; directions may contradict a gradient of which no element
# is shown to be wrong.
RIGHT = Outcome.AGREES, Label.SMOOTH
UNKNOWN = Outcome.UNDECIDED, Label.UNMEASURED
CONTRADICTED = Outcome.UNDECIDED, Label.NOISY


def assess_along_directions(
    point: Point,
    gradient: Array,
    autodiff: Array | None,
    tolerance: Tolerance,
    rng: np.random.Generator,
    trusted: bool,
    ladders: int = LADDER_LIMIT,
) -> Assessment:
    """Compare a long `gradient` (n,) with differences along random directions, and with `autodiff` if there is any.

    Single elements are measured where directions or autodiff contradict the gradient; `trusted` and
    `ladders` as for `assess`.
    """
    finite = np.where(np.isfinite(gradient), gradient, 0.0)
    agrees = directions_agree(point, finite, rng)
    odd = np.where(~np.isfinite(gradient))[0]
    if autodiff is not None:
        odd = _apart(point, gradient, autodiff, tolerance)
        if odd.size:
            found = _assess_by_autodiff(point, gradient, autodiff, odd, tolerance, rng, trusted)
            if found is not None:
                return found
    # A few coordinates are always measured one by one, so that the report shows real numbers.
    sample = _sample(point, SHOWN_OF_BLOCKS if point.blocks else SHOWN, rng)
    chosen = np.union1d(sample, odd[:CONTESTED] if agrees else odd[:MEASURED]).astype(np.int64)
    part = assess(point, gradient, tolerance, rng, chosen, trusted, ladders)
    if agrees:
        return _spread(RIGHT, finite, (chosen, part))
    known = np.isin(chosen, sample) & (part.label != Label.UNMEASURED)
    widespread = part.wrong[known].mean() >= WIDESPREAD
    more = _sample(point, SAMPLED, rng) if widespread else suspects(point, finite, rng, TESTS_PER_LADDER * ladders)
    more = np.setdiff1d(more, chosen)
    if widespread:
        more = more[: max(ladders - len(chosen), 0)]
    further = more, assess(point, gradient, tolerance, rng, more, trusted, ladders)
    if widespread:
        return _spread(UNKNOWN, np.full(point.x.size, np.nan), (chosen, part), further)
    named = part.wrong.any() or further[1].wrong.any()
    return _spread(RIGHT if named else CONTRADICTED, finite, (chosen, part), further)


def _sample(point: Point, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.asarray(rng.choice(point.x.size, min(count, point.x.size), replace=False))


def _assess_by_autodiff(
    point: Point,
    gradient: Array,
    autodiff: Array,
    apart: NDArray[np.int64],
    tolerance: Tolerance,
    rng: np.random.Generator,
    trusted: bool,
) -> Assessment | None:
    """Assess a gradient by autodiff, which random directions confirm; None if they do not.

    `apart` are the elements at which the two differ, worst first: the worst and some others are measured
    too and have to say the same, a few of them clearly.
    """
    if not np.isfinite(autodiff).all() or not directions_agree(point, autodiff, rng):
        return None
    others = rng.choice(apart, min(MEASURED, apart.size), replace=False)
    chosen = np.union1d(apart[:MEASURED], others).astype(np.int64)
    part = assess(point, gradient, tolerance, rng, chosen, trusted, ladders=CLIMBED)
    is_number = np.isfinite(gradient)
    with np.errstate(invalid="ignore"):
        near = np.abs(autodiff[chosen] - part.value) <= part.tolerance + part.error + 1e-3 * np.abs(part.value)
    confirmed = near & (part.outcome != Outcome.AGREES)
    proved = part.wrong.any() or not is_number[chosen].any()
    if confirmed.mean() < CONFIRMED or np.any(part.wrong & ~near) or not proved:
        return None
    part.outcome[confirmed & is_number[chosen]] = Outcome.WRONG
    whole = _spread(RIGHT, autodiff.copy(), (chosen, part))
    others = np.setdiff1d(apart[is_number[apart]], chosen)
    whole.outcome[others] = Outcome.WRONG
    return whole


def _spread(held: tuple[Outcome, Label], value: Array, *measured: tuple[NDArray[np.int64], Assessment]) -> Assessment:
    """Return what is held of every element, and what was measured of some; `value` is written to."""
    count, typical = value.size, float(np.median(measured[0][1].tolerance))
    outcome, label = held
    # Only what a measurement reads is kept for every element.
    whole = Assessment(
        np.full(count, outcome, np.int8), np.full(count, label, np.int8), value, np.zeros(count), value, value,
        np.full(count, typical), np.broadcast_to(0.0, count),
    )  # fmt: skip
    for chosen, part in measured:
        for name in ("outcome", "label", "value", "error", "tolerance"):
            getattr(whole, name)[chosen] = getattr(part, name)
    return whole


def _apart(point: Point, gradient: Array, autodiff: Array, tolerance: Tolerance) -> NDArray[np.int64]:
    """Return where the gradient is no number or not what autodiff is, the worst in units of its tolerance first.

    What rounding leaves of autodiff there is allowed for: beside a large element a small one counts too.
    """
    apart = np.zeros(gradient.size, bool)
    noise = AUTODIFF_NOISE * point.output_size
    for part in chunks_of(gradient.size):
        g, a = gradient[part], autodiff[part]
        with np.errstate(all="ignore"):
            allowed = tolerance.rtol * np.fmax(np.abs(g), np.abs(a)) + noise / point.sizes[part]
            apart[part] = ~np.isfinite(g) | (np.abs(g - a) > allowed)
    places = np.where(apart)[0]
    g, a = gradient[places], autodiff[places]
    groups = None if point.groups is None else point.groups[places]
    with np.errstate(all="ignore"):
        gaps = np.nan_to_num(np.abs(g - a) / tolerance.at(g, a, np.abs(a), groups), nan=np.inf)
    order = np.argsort(-gaps, kind="stable")
    return np.asarray(places[order[gaps[order] > 1]])
