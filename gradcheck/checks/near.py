"""The gradient at ordinary inputs that the sample does not hold: other draws, a fine grid, both sides of constants.

A threshold that differs between forward and grad_fn shows only between the two, and a dozen random
numbers seldom lie there.  The gradient is held against autodiff, which is cheap; only a finite
difference may blame it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gradcheck.autodiff.coordinates import Slot
from gradcheck.autodiff.subject import Subject
from gradcheck.checks.distant import Distant, elements_at, locate, place
from gradcheck.checks.far import (
    STOPPING,
    applies,
    autodiff_there,
    bad_at,
    followed,
    negligible,
)
from gradcheck.checks.gradients import main_gradient, main_reference
from gradcheck.checks.points import free_coordinates, inside, parameter_coordinates
from gradcheck.numerics.closeness import largest
from gradcheck.numerics.ladder import Array
from gradcheck.numerics.places import region_of
from gradcheck.results import Comparison, Finding, blamed

PHASE = "near_values"
# The grid: how far it reaches, how fine it is, and how far from a constant of the op's graph it looks too.
REACH, STEP, BESIDE = 6.0, 0.2, (-0.3, -0.03, 0.03, 0.3)
REDRAWS = 8
# Points at which the gradient is taken, and of those where it is odd the number that differences look at.
MOST, PROVED = 24, 3
RTOL, SAME = 1e-3, 1e-6
# Where a gradient is so many times as large as at the sample, what either formula loses is large too.
AMPLIFIED = 1e6

Mask = NDArray[np.bool_]


def check(subject: Subject, found: Sequence[Finding]) -> Iterator[Finding | Comparison]:
    """Compare with autodiff at other draws and on a grid; blame what differences confirm."""
    if blamed(found, STOPPING) or not subject.custom or subject.case.expected_vjp or not applies(subject):
        return
    points, told = _looked_at(subject)
    odd = [i for i, (wrong, _) in enumerate(told) if wrong.any()]
    for i in sorted(odd, key=lambda i: -int(told[i][0].sum()))[:PROVED]:
        bad = [b for b in bad_at(subject, points[i]) if not b.own_dtype]
        # What parts little by little is no branch; the values further out say so.
        first = followed(subject, bad[0], points[i]) if bad else None
        if first is not None and not first.excused:
            wrong, right = (np.stack([masks[k] for masks in told]) for k in (0, 1))
            yield _finding(subject, [first, *bad[1:]], np.stack(points), wrong, right)
            return


def region_nearby(subject: Subject, slot: Slot) -> str | None:
    """Return the range of an input's values in which its gradient is not autodiff's, None if no range holds them."""
    if not subject.custom or subject.case.expected_vjp or slot.complex or not applies(subject):
        return None
    points, told = _looked_at(subject)
    if not points:
        return None
    wrong, right = (np.stack([masks[k] for masks in told]) for k in (0, 1))
    return _region(subject, slot, np.stack(points), wrong, right)


def _looked_at(subject: Subject) -> tuple[list[Array], list[tuple[Mask, Mask]]]:
    points = list(_points(subject))
    return points, [_told_apart(subject, x) for x in points]


def _region(subject: Subject, slot: Slot, points: Array, wrong: Mask, right: Mask) -> str | None:
    part = next(p for s, p in zip(subject.slots, subject.layout.inputs.ranges(), strict=True) if s is slot)
    if slot.complex:
        return None
    return region_of(points[:, part].ravel(), wrong[:, part].ravel(), right[:, part].ravel())


def _points(subject: Subject) -> Iterator[Array]:
    """Yield the sample drawn anew, then grid values spread over the coordinates."""
    base = subject.vector()
    free, _ = free_coordinates(subject)
    places = np.flatnonzero(free)
    if not places.size:
        return
    for number in range(REDRAWS):
        x = _redrawn(subject, base, number)
        if x is not None:
            yield x
    low, high = subject.layout.inputs.bounds()
    rng, parameters = subject.rng("near"), parameter_coordinates(subject)
    values = _values(subject, rng)
    rows = int(min(np.ceil(values.size / places.size), MOST - REDRAWS))
    spread = np.resize(values, rows * places.size).reshape(rows, places.size)
    for row in spread:
        x = base.copy()
        x[places] = [inside(v, low[i], high[i], base[i]) for v, i in zip(row, places, strict=True)]
        x[parameters] = np.copysign(x[parameters], base[parameters])
        yield x


def _redrawn(subject: Subject, base: Array, number: int) -> Array | None:
    """Return another draw of the random inputs, None if nothing is drawn."""
    leaves = subject.drawn_anew(number)
    if leaves is None:
        return None
    drawn = subject.layout.inputs.pack(
        [*(leaves[i].values for i in subject.sources), *(subject.kept(v) for v in subject.variables)]
    )
    return None if np.array_equal(drawn, base) else drawn


def _values(subject: Subject, rng: np.random.Generator) -> Array:
    """Return the values to try in random order: those beside constants first, as not all may find room."""
    beside = [s * (c + d) for c in main_reference(subject).realm.constants for d in BESIDE for s in (1.0, -1.0)]
    grid = np.arange(-REACH, REACH, STEP)
    return np.concatenate([rng.permutation(np.array(beside)), rng.permutation(grid + STEP * rng.random(grid.size))])


def _told_apart(subject: Subject, x: Array) -> tuple[Mask, Mask]:
    """Return where gradient and autodiff are numbers and differ, and where they are the same."""
    reference = main_reference(subject)
    cotangent = reference.point.cotangent
    nothing = np.zeros(x.size, bool)
    try:
        gradient = reference.realm.gradient(x, cotangent)
    except Exception:
        return nothing, nothing
    autodiff = autodiff_there(subject, reference.point, x, cotangent)
    if autodiff is None or largest(autodiff) > AMPLIFIED * max(largest(main_gradient(subject)), largest(cotangent)):
        return nothing, nothing
    with np.errstate(all="ignore"):
        gap, size = np.abs(gradient - autodiff), np.fmax(np.abs(gradient), np.abs(autodiff))
        wrong = np.isfinite(gap) & (gap > RTOL * size + negligible(subject))
        return wrong, np.asarray(gap <= SAME * size)


def _finding(subject: Subject, bad: Sequence[Distant], points: Array, wrong: Mask, right: Mask) -> Finding:
    slot, _ = locate(subject, bad[0].coordinate)
    region = _region(subject, slot, points, wrong, right)
    first = bad[0]
    where = f"where the input {region}" if region else f"at other inputs, as {place(subject, first)}"
    return Finding(
        "gradient-mismatch",
        f"the gradient of `{slot.name}` is right at the sample and wrong {where}: there {first.analytic:.6g}, the"
        f" reference is {first.slope:.6g}",
        "region",
        hint="look for a threshold, a branch or a mask in grad_fn that is not the forward's",
        wrt=slot.name,
        mode="eager",
        dtype=subject.dtype,
        elements=elements_at(subject, bad),
    )
