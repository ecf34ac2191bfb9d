# SPDX-License-Identifier: Apache-2.0
"""Whether two results of one dtype differ by more than rounding explains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gradcheck.numerics.arrays import Array
from gradcheck.numerics.chunks import chunks_of
from gradcheck.verdict.tolerances import (
    ENOUGH,
    FACTOR_SPREADS,
    FEW_SHARED,
    LOSS_MARGIN,
    ROUNDINGS_LEFT,
    SHARED_FACTOR,
    SMALLEST,
    SYSTEMATIC,
)


def last_digits_moved(values: Array, unit: float, rng: np.random.Generator) -> Array:
    """Return values that are larger or smaller by `unit`, beside themselves."""
    moved = rng.choice([-1.0, 1.0], values.size)
    moved *= unit
    moved += 1
    moved *= values
    return moved


def beyond(found: Array, base: Array, exact: Array, tolerance: Array, roundoff: float) -> np.ndarray:
    """Return where two results of the own dtype differ by more than rounding explains.

    What the base loses against float64, there or typically, may be lost by the other way too, by
    another path; half of the digits may go by internal cancellation.
    """
    different = np.zeros(base.shape, bool)
    if _surely_close(found, base, tolerance, roundoff):
        return different
    loss, slack = _loss(base, exact), 0.0
    for _ in range(2):
        for part in chunks_of(base.size):
            different[part] = _differs(found[part], base[part], exact[part], tolerance[part] + slack, loss, roundoff)
        if not different.any():
            break
        slack = _coarseness(found, exact, roundoff) / 2
    return different


def nothing_left(
    found: Array, base: Array, exact: Array, scale: float, roundoff: float, roundings: float = ROUNDINGS_LEFT
) -> np.ndarray:
    """Return where two results of the own dtype are roundings of `scale` alone: they cancel, and no digit is left.

    `scale` is the size of what comes in.  Where the base has digits of the exact result, these count.
    """
    most = roundings * roundoff * scale
    with np.errstate(all="ignore"):
        small = (np.abs(found) <= most) & (np.abs(base) <= most)
        has_digits = (base != exact) & (np.abs(base - exact) <= np.sqrt(roundoff) * np.abs(exact))
        return np.asarray(small & ~has_digits)


def _surely_close(found: Array, base: Array, tolerance: Array, roundoff: float) -> bool:
    """Return whether two results are as close as they need to be whatever the base loses, part by part."""
    for part in chunks_of(base.size):
        a, b = found[part], base[part]
        with np.errstate(all="ignore"):
            close = np.abs(a - b) <= 2 * tolerance[part] + np.sqrt(roundoff) * np.abs(b)
        if not np.all((close & np.isfinite(a) & np.isfinite(b)) | (a == b) | (np.isnan(a) & np.isnan(b))):
            return False
    return True


def _coarseness(found: Array, exact: Array, roundoff: float) -> float:
    """Return how far a way is off wherever one looks: XLA's kernels of some functions know fewer digits than eager's.

    Nothing if it is off by one factor, and at most the half of the digits of the largest, so that a
    way that is wrong everywhere is not excused by that.
    """
    both = np.isfinite(found) & np.isfinite(exact)
    if not both.any() or _loss(found, exact).systematic:
        return 0.0
    typical = float(np.median(np.abs(found[both] - exact[both])))
    return min(LOSS_MARGIN * typical, float(np.sqrt(roundoff)) * float(np.abs(exact[both]).max()))


@dataclass(frozen=True, slots=True)
class _Loss:
    """Hold what the base loses against float64: the typical relative error, and what remains anywhere."""

    typical: float = 0.0
    quantum: float = 0.0
    systematic: bool = False


def _differs(found: Array, base: Array, exact: Array, tolerance: Array, loss: _Loss, roundoff: float) -> np.ndarray:
    with np.errstate(all="ignore"):
        lost = np.zeros(base.shape)
        if not loss.systematic:
            lost = np.fmax(LOSS_MARGIN * np.fmax(np.abs(base - exact), loss.typical * np.abs(exact)), loss.quantum)
        allowed = 2 * tolerance + lost + np.sqrt(roundoff) * np.fmax(np.abs(base), np.abs(exact))
        allowed = np.where(np.isfinite(allowed), allowed, np.inf)
        different = np.abs(found - base) > allowed
        return np.asarray(different | (np.isfinite(base) != np.isfinite(found)))


def _loss(base: Array, exact: Array) -> _Loss:
    usable = np.isfinite(base) & np.isfinite(exact)
    if not usable.any():
        return _Loss()
    with np.errstate(all="ignore"):
        # A difference of nearly equal numbers leaves some roundings of these, whatever remains.
        apart = float(np.max(np.abs(base - exact), where=usable, initial=0.0))
        quantum = min(LOSS_MARGIN * apart, SMALLEST * float(np.max(np.abs(exact), where=usable, initial=0.0)))
        relative = (base / exact)[usable & (exact != 0)]
    if not relative.size:
        return _Loss(quantum=quantum)
    relative -= 1
    # Off by one factor: what rounding loses has no common sign and size.
    systematic = relative.size >= ENOUGH and abs(relative.mean()) > SYSTEMATIC * relative.std()
    return _Loss(float(np.median(np.abs(relative))), quantum, bool(systematic))


def bias_of(own: Array, exact: Array, roundoff: float, shared: float = SHARED_FACTOR) -> float | None:
    """Return the common factor (less one) by which the own dtype is off, None if it looks like rounding.

    Rounding errors have no common sign, so their mean is small beside their spread; but one of a
    number that all elements share (a step size, to some power) moves them together, by little: by
    less than `shared`.
    """
    usable = np.isfinite(own) & np.isfinite(exact) & (np.abs(exact) > SMALLEST * np.abs(exact).max(initial=0.0))
    if not usable.any():
        return None
    relative = np.divide(own, exact, where=usable, out=np.ones(own.size))
    relative -= 1
    mean = float(np.mean(relative, where=usable))
    least = shared if usable.sum() >= ENOUGH else FEW_SHARED
    return (
        mean
        if abs(mean) > max(FACTOR_SPREADS * float(np.std(relative, where=usable)), FACTOR_SPREADS * roundoff, least)
        else None
    )
