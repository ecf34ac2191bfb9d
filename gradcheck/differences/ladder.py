# SPDX-License-Identifier: Apache-2.0
"""Read a derivative, its error bound and the kind of point off a ladder of central differences.

A ladder is a sequence of central differences with shrinking half-widths (coarsest level
first).  It is read from the finest level upwards (Lepski's method), so the bound holds also
where coarse steps alias, leave the domain or cross a kink.  No step is ever chosen by its
closeness to the gradient under test.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from gradcheck.numerics.arrays import Array, Mask

NOISE_FACTOR = 4.0
WIDE_STEP = 2.0**-20
# What may hide in the rounding of values of size one inside the function, whatever comes out.
HIDDEN = 2.0**-48
VISIBLE = 2.0**-40
# Levels that show how slopes to one side settle, how much of a change is left at the next, the share of a correction
# that may be wrong, and how close the limit must be: to a hundredth of it, or of a tenth of the largest slope.
# The rises of a slope that grows like a logarithm are as even as this.
EVEN = 1.3
FEWEST_AT_EDGE, SETTLING, CORRECTED, EDGE_RTOL, BESIDE_ZERO = 5, 0.9, 0.5, 1e-2, 0.1
# Of the largest change on a ladder, and of the values, what is left on the finest levels where no width is fine enough.
UNSHRUNK, PLAIN = 0.1, 1e-3


class Label(IntEnum):
    """Name the kind of point that a ladder shows, or say that none was climbed and nothing else is known."""

    SMOOTH = 0
    NOISY = 1
    FLAT = 2
    STAIRCASE = 3
    KINK = 4
    JUMP = 5
    SINGULAR = 6
    DOMAIN = 7
    NONFINITE = 8
    FEW = 9
    UNMEASURED = 10
    EDGE = 11


@dataclass(frozen=True, slots=True)
class Rungs:
    """Hold the differences along one coordinate; every array has one entry per level.

    `width` is the half-width really taken; `odd` is v.(Y+ - Y-), `plus` v.(Y+ - Y0) and
    `minus` v.(Y0 - Y-); `lower` and `upper` sum the smaller and the larger of both sides' parts
    over the outputs; `magnitude` sums |v||Y| over the outputs that move at any level;
    `spread` is |v|.|Y+ - Y-|.
    """

    width: Array
    odd: Array
    plus: Array
    minus: Array
    lower: Array
    upper: Array
    magnitude: Array
    spread: Array
    moved: Mask
    finite_plus: Mask
    finite_minus: Mask

    @property
    def finite(self) -> Mask:
        """Return the levels at which both sides are finite."""
        return self.finite_plus & self.finite_minus

    def __len__(self) -> int:
        return len(self.width)

    def from_level(self, first: int) -> Rungs:
        """Return the ladder without its levels coarser than `first`."""
        return Rungs(*(getattr(self, name)[first:] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Slope:
    """Hold a derivative with the bound on its error and the kind of point it was taken at.

    For a kink `low` and `high` are the one-sided slopes; `scale` is the size of the slope
    without cancellation between outputs.  `steps` tells a staircase whose steps are wide
    against the coordinate from one that is only the rounding of a cancelling sum.
    """

    label: Label
    value: float = float("nan")
    error: float = float("inf")
    low: float = float("nan")
    high: float = float("nan")
    scale: float = 0.0
    width: float = float("nan")
    steps: bool = False


def read_ladder(rungs: Rungs, x: float, output_size: float, roundoff: float) -> Slope:
    """Return the slope at a coordinate of size `x` from its ladder of differences.

    `output_size` is sum |v||Y0|, `roundoff` the unit roundoff at which the function is
    computed (2**-53 in float64).
    """
    if len(rungs) == 0:
        return Slope(Label.FEW)
    if not rungs.finite[-1]:
        return _at_edge(rungs, roundoff * output_size)
    rungs = rungs.from_level(_first_usable(rungs))
    if not rungs.moved.any():
        return Slope(Label.FLAT, 0.0, 2 * roundoff * output_size / rungs.width[0])
    if len(rungs) < 3:
        return Slope(Label.FEW)
    noise = _Noise.of(rungs, x, roundoff)
    for look in (_locally_constant, _jump, _singular, _unresolved, _kink):
        slope = look(rungs, noise)
        if slope is not None:
            return slope
    return _smooth(rungs, noise, output_size)


def _at_edge(rungs: Rungs, rounding: float) -> Slope:
    if not (rungs.finite_plus[-1] or rungs.finite_minus[-1]):
        return Slope(Label.NONFINITE)
    side, finite = (
        (rungs.plus, rungs.finite_plus) if rungs.finite_plus[-1] else (rungs.minus, rungs.finite_minus)
    )  # fmt: skip
    first = len(rungs) - 1
    while first > 0 and finite[first - 1]:
        first -= 1
    value, error = _one_sided(side[first:], rungs.width[first:], rounding)
    slope = side[-1] / rungs.width[-1]
    if not np.isfinite(error):
        return Slope(Label.DOMAIN, slope, float("inf"), slope, slope)
    return Slope(Label.EDGE, value, error, value, value, scale=abs(value), width=float(rungs.width[-1]))


def _one_sided(side: Array, width: Array, rounding: float) -> tuple[float, float]:
    """Return the limit of one-sided slopes with its error; infinite where they do not settle.

    Slopes at widths that shrink by one factor approach their limit by one factor too, whatever the order (1 for a
    smooth function, 1/2 for a power 3/2), so that Aitken's rule (1926) finds it; those of a root or a logarithm grow.
    """
    if len(side) < FEWEST_AT_EDGE:
        return float("nan"), float("inf")
    slopes = side / width
    change = np.diff(slopes)
    noise = NOISE_FACTOR * rounding / width
    if np.all(np.abs(change) <= noise[1:]):
        # What the slopes differ by may be curvature, too small to be told from rounding.
        return float(slopes[0]), float(noise[0] + np.abs(slopes - slopes[0]).max())
    with np.errstate(all="ignore"):
        shrink = change[1:] / change[:-1]
        limits = slopes[2:] - change[1:] ** 2 / (change[1:] - change[:-1])
        settled = (shrink > 0) & (shrink < SETTLING)
        apart = np.abs(np.diff(limits))
        # Two limits may be close by chance, three are not; widths are no exact powers of their factor.
        corrected = CORRECTED * np.abs(limits[2:] - slopes[4:])
        error = np.fmax(2 * np.maximum(apart[1:], apart[:-1]), corrected) + noise[4:] / (1 - shrink[2:]) ** 2
        usable = settled[2:] & settled[1:-1] & settled[:-2] & np.isfinite(error)
    if not usable.any():
        return float("nan"), float("inf")
    best = int(np.argmin(np.where(usable, error, np.inf)))
    value, bound = float(limits[2:][best]), float(error[best])
    size = max(abs(value), BESIDE_ZERO * float(np.abs(slopes).max()))
    return (value, bound) if bound <= EDGE_RTOL * size else (float("nan"), float("inf"))


def _first_usable(rungs: Rungs) -> int:
    first = len(rungs) - 1
    while first > 0 and rungs.finite[first - 1]:
        first -= 1
    return first


@dataclass(frozen=True, slots=True)
class _Noise:
    """Hold the noise of a ladder: a priori (rounding) and as measured on its finest levels."""

    size: float
    magnitude: Array
    slope: Array
    rounding: Array
    odd: float
    even: float
    roundoff: float

    @classmethod
    def of(cls, rungs: Rungs, x: float, roundoff: float) -> _Noise:
        magnitude = np.maximum(rungs.magnitude, rungs.magnitude[-1])
        slope = rungs.odd / (2 * rungs.width)
        rounding = roundoff * (magnitude + x * np.abs(slope))
        finest = min(3, len(rungs) - 1)
        changes = np.abs(np.diff(slope)) * rungs.width[1:]
        even = np.abs(rungs.plus - rungs.minus) / 2
        return cls(x, magnitude, slope, rounding, float(changes[-finest:].max()), float(even[-finest:].max()), roundoff)

    @property
    def apparent(self) -> Array:
        return np.maximum(self.rounding, self.odd)


def _locally_constant(rungs: Rungs, noise: _Noise) -> Slope | None:
    """Look for fine levels that do not move although the slope above would have shown."""
    last = int(np.where(rungs.moved)[0][-1])
    if len(rungs) - 1 - last < 2:
        return None
    change = max(abs(rungs.plus[last]), abs(rungs.minus[last]))
    if change * rungs.width[last + 1] / rungs.width[last] <= 8 * noise.roundoff * noise.magnitude[last + 1]:
        return None
    plus, minus = rungs.plus[: last + 1], rungs.minus[: last + 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = plus / minus
    together = np.where((plus != 0) & (minus != 0) & (ratio > 1 / 3) & (ratio < 3))[0]
    if len(together) == 0:
        hidden = max(2 * noise.roundoff * noise.magnitude[last + 1], HIDDEN * max(1.0, noise.magnitude[last + 1]))
        error = hidden / rungs.width[last + 1]
        return Slope(Label.FLAT, 0.0, float(error))
    return _staircase(rungs, noise, together, last)


def _staircase(rungs: Rungs, noise: _Noise, levels: NDArray[np.int64], last: int) -> Slope:
    slope = noise.slope
    quantum = abs(slope[levels[0]]) * rungs.width[last]
    errors = [
        (abs(slope[k] - slope[k - 1]) if k > 0 else 0.25 * abs(slope[k])) + NOISE_FACTOR * quantum / rungs.width[k]
        for k in levels
    ]
    best = int(levels[int(np.argmin(errors))])
    scale = rungs.spread[best] / (2 * rungs.width[best])
    return Slope(
        Label.STAIRCASE,
        float(slope[best]),
        float(min(errors)),
        scale=float(scale),
        width=float(rungs.width[best]),
        steps=bool(
            rungs.width[last] >= WIDE_STEP * (noise.size or 1.0)
            and max(abs(rungs.plus[last]), abs(rungs.minus[last])) > VISIBLE * max(1.0, noise.magnitude[last])
        ),
    )


def _jump(rungs: Rungs, noise: _Noise) -> Slope | None:
    """Look for a one-sided difference that keeps its size while the width shrinks."""
    floor = 16 * noise.rounding[-4:].max()
    for side in (rungs.plus[-4:], rungs.minus[-4:]):
        sizes = np.abs(side)
        one_sign = np.all(side > 0) or np.all(side < 0)
        if one_sign and sizes.min() > floor and sizes.max() - sizes.min() <= 0.1 * sizes.min():
            return Slope(Label.JUMP, float(noise.slope[-1]))
    return None


def _unresolved(rungs: Rungs, noise: _Noise) -> Slope | None:
    """Look for changes that no width makes smaller, as of a sine whose period is shorter than all of them."""
    change = np.maximum(np.abs(rungs.plus), np.abs(rungs.minus))
    # Of a wave some changes are small by chance.
    if np.median(change[-5:]) >= max(UNSHRUNK * change.max(), PLAIN * noise.magnitude[-1]) > 0:
        return Slope(Label.NOISY, float(noise.slope[-1]), float("inf"))
    return None


def _singular(rungs: Rungs, noise: _Noise) -> Slope | None:
    """Look for a one-sided slope that grows by one factor per level, slower than 1/h, or by one summand."""
    if len(rungs) < 4:
        return None
    ratio = rungs.width[-4:-1] / rungs.width[-3:]
    for side in (rungs.plus[-4:], rungs.minus[-4:]):
        if not np.all(np.abs(side) > 16 * noise.rounding[-4:]):
            continue
        growth = np.abs(side / rungs.width[-4:])
        if _grows_evenly(side / rungs.width[-4:], np.log(ratio)):
            return Slope(Label.SINGULAR, float(noise.slope[-1]))
        exponents = np.log(growth[1:] / growth[:-1]) / np.log(ratio)
        if np.all((exponents > 0.1) & (exponents < 0.9)) and np.ptp(exponents) < 0.1:
            return Slope(Label.SINGULAR, float(noise.slope[-1]))
    return None


def _grows_evenly(slopes: Array, steps: Array) -> bool:
    """Return whether slopes grow by the same amount for each factor of the width, as those of x log x at zero."""
    rise = np.diff(slopes) / steps
    size = np.abs(rise)
    one_sign = bool(np.all(rise > 0) or np.all(rise < 0))
    return one_sign and size.max() <= EVEN * size.min() and size.min() > EDGE_RTOL * np.abs(slopes).max()


def _kink(rungs: Rungs, noise: _Noise) -> Slope | None:
    """Look for an even part that shrinks like h on the finest levels that stand above the noise."""
    even = np.abs(rungs.plus - rungs.minus)
    floor = 8 * noise.apparent
    above = np.where(even > floor)[0]
    if len(above) == 0 or above[-1] < 2:
        return None
    k = int(above[-1])
    if not (even[k - 1] > floor[k - 1] and even[k - 2] > floor[k - 2]):
        return None
    width = rungs.width
    order = [float(np.log(even[j - 1] / even[j]) / np.log(width[j - 1] / width[j])) for j in (k, k - 1)]
    hidden = k == len(rungs) - 1 or even[k] * width[k + 1] / width[k] <= 2 * floor[k + 1]
    if not (0.75 < order[0] < 1.3 and 0.75 < order[1] < 1.5 and hidden):
        return None
    # Each output may take a slope of its own between its one-sided ones.
    sides = np.stack([rungs.lower, rungs.upper]) / width
    spread = 2 * NOISE_FACTOR * noise.apparent / width
    error = np.full(len(rungs), np.inf)
    error[k] = spread[k]
    for j in range(k - 1, -1, -1):
        error[j] = spread[j] + np.abs(sides[:, j] - sides[:, j + 1]).max()
    best = int(np.argmin(error))
    low, high = float(sides[0, best]), float(sides[1, best])
    scale = rungs.spread[best] / (2 * width[best])
    return Slope(Label.KINK, (low + high) / 2, float(error[best]), low, high, float(scale), float(width[best]))


def _smooth(rungs: Rungs, noise: _Noise, output_size: float) -> Slope:
    """Intersect the intervals of the levels from the finest upwards; keep the tightest."""
    slope, width = noise.slope, rungs.width
    ratio = width[:-1] / width[1:]
    value = slope.copy()
    value[1:] += (slope[1:] - slope[:-1]) / (ratio * ratio - 1)
    error = 1.05 * NOISE_FACTOR * np.maximum(noise.apparent, noise.even) / width
    error[1:] += np.abs(np.diff(slope))
    error[0] = np.inf
    low, high, best = -np.inf, np.inf, len(rungs) - 1
    for k in range(len(rungs) - 1, 0, -1):
        low, high = max(low, value[k] - error[k]), min(high, value[k] + error[k])
        if low > high:
            break
        if error[k] < error[best]:
            best = k
    natural = max(
        rungs.spread[-1] / (2 * width[-1]), noise.magnitude[-1] / max(noise.size, 1.0), rungs.spread[0] / (2 * width[0])
    )
    label = Label.SMOOTH if error[best] <= 1e-3 * max(abs(value[best]), 1e-2 * natural) else Label.NOISY
    scale = rungs.spread[best] / (2 * width[best])
    # Outputs that move at no level may hide a change of one rounding at the coarsest.
    hidden = noise.roundoff * max(output_size - float(noise.magnitude[-1]), 0.0) / float(width[0])
    return Slope(label, float(value[best]), float(error[best]) + hidden, scale=float(scale), width=float(width[best]))
