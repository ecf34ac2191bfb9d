# SPDX-License-Identifier: Apache-2.0
"""Decide element by element whether a gradient agrees with finite differences."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from gradcheck.differences.ladder import Label, Slope
from gradcheck.differences.stencils import FirstStage, first_stage, moves_when_pushed, slopes_along
from gradcheck.differences.vector_function import Point
from gradcheck.numerics.arrays import Array

LADDER_LIMIT = 4000
# Of the elements at which a second gradient and stage one convict the first so many are climbed, and in
# units of what is allowed the first has to be so far from both.
PROVED, CONVICTED = 8, 4.0


class Outcome(IntEnum):
    """Say what a difference shows about a gradient."""

    AGREES = 0
    WRONG = 1
    UNDECIDED = 2


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Give the relative and absolute tolerance; `given` when the user chose them."""

    rtol: float
    atol: float = 0.0
    given: bool = False

    def at(self, gradient: Array, value: Array, scale: Array, groups: NDArray[np.int64] | None = None) -> Array:
        """Return the tolerance of each element.

        The floor comes from the data: a hundredth of the slope without cancellation, so that
        a gradient of size 1e-8 is not passed by an absolute constant.  `groups` numbers the
        inputs: a large gradient of one excuses nothing in another.
        """
        size = np.fmax(np.abs(gradient), np.abs(value))
        if self.given:
            return np.asarray(self.atol + self.rtol * size)
        largest = _largest(scale, groups)
        # A subnormal number has no digits to compare.
        return np.asarray(self.rtol * np.fmax(size, np.fmax(1e-2 * scale, 1e-4 * largest)) + np.finfo(float).tiny)


def _largest(scale: Array, groups: NDArray[np.int64] | None) -> Array:
    """Return the largest finite scale of each element's group."""
    finite = np.where(np.isfinite(scale), scale, 0.0)
    if groups is None or not scale.size:
        return np.full(scale.shape, finite.max(initial=0.0))
    most = np.zeros(int(groups.max()) + 1)
    np.maximum.at(most, groups, finite)
    return np.asarray(most[groups])


@dataclass(frozen=True, slots=True)
class Assessment:
    """Hold, per element, the finite difference, its bound and what follows for the gradient."""

    outcome: NDArray[np.int8]
    label: NDArray[np.int8]
    value: Array
    error: Array
    low: Array
    high: Array
    tolerance: Array
    scale: Array

    def at(self, part: slice) -> Assessment:
        """Return what is held of some elements."""
        return Assessment(*(getattr(self, name)[part] for name in self.__slots__))

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Return the elements at which the gradient is shown to be wrong."""
        return np.asarray(self.outcome == Outcome.WRONG)

    @property
    def decided(self) -> NDArray[np.bool_]:
        """Return the elements at which the difference could decide."""
        return np.asarray(self.outcome != Outcome.UNDECIDED)


def assess(
    point: Point,
    gradient: Array,
    tolerance: Tolerance,
    rng: np.random.Generator,
    coordinates: NDArray[np.int64] | None = None,
    trusted: bool = True,
    ladders: int = LADDER_LIMIT,
    witness: Array | None = None,
) -> Assessment:
    """Compare `gradient` (n,) with finite differences at the given coordinates (all by default).

    `trusted` says that the precision recorder found no low precision hidden in the function, so
    that an output which does not move is really constant.  `witness` (n,) is a gradient got in
    another way: where stage one says the same, a few ladders speak for all.  No more ladders than
    `ladders` are climbed; what they leave is undecided.
    """
    coordinates = np.arange(point.x.size) if coordinates is None else coordinates
    tested = gradient[coordinates]
    stage = first_stage(point, coordinates, rng)
    groups = None if point.groups is None else point.groups[coordinates]
    tol = tolerance.at(tested, stage.value, stage.scale, groups)
    constant = ~stage.moved & (tested == 0) & stage.finite & trusted
    constant[constant] = ~moves_when_pushed(point, coordinates[constant], rng)
    assessment = _from_first_stage(stage, tested, tol, constant)
    # An input that is no number has no slope.
    lost = ~np.isfinite(point.x[coordinates])
    assessment.label[lost] = Label.NONFINITE
    suspects = np.where((assessment.outcome == Outcome.UNDECIDED) & ~lost)[0]
    if ladders < len(suspects):
        suspects = rng.permutation(suspects)
    convicted = np.zeros(0, np.int64)
    if witness is not None and trusted and not tolerance.given:
        testified = _convicts(stage, tested, witness[coordinates], tolerance, groups)[suspects]
        convicted, suspects = suspects[testified][PROVED:], np.r_[suspects[testified][:PROVED], suspects[~testified]]
    climbed, left = suspects[:ladders], suspects[ladders:]
    slopes = slopes_along(point, coordinates[climbed], rng)
    _read(assessment, climbed, slopes, tested, tolerance, trusted, groups)
    if convicted.size and not (assessment.outcome[climbed[:PROVED]] == Outcome.WRONG).all():
        more = convicted[: ladders - len(climbed)]
        _read(assessment, more, slopes_along(point, coordinates[more], rng), tested, tolerance, trusted, groups)
    else:
        assessment.outcome[convicted] = Outcome.WRONG
    if assessment.wrong.any():
        assessment.label[left] = Label.UNMEASURED
    return assessment


def _from_first_stage(stage: FirstStage, g: Array, tol: Array, constant: NDArray[np.bool_]) -> Assessment:
    # Stage one may only pass an element; it never fails one.
    with np.errstate(all="ignore"):
        # The tolerance for a gradient that is infinite is infinite too.
        close = np.isfinite(g) & (np.abs(g - stage.value) + stage.error <= tol)
    passed = close & _straight(stage) & stage.finite
    outcome = np.where(passed | constant, Outcome.AGREES, Outcome.UNDECIDED).astype(np.int8)
    label = np.where(constant & ~passed, Label.FLAT, Label.SMOOTH).astype(np.int8)
    value = np.where(constant, 0.0, stage.value)
    return Assessment(outcome, label, value, stage.error.copy(), value.copy(), value.copy(), tol, stage.scale.copy())


def _convicts(
    stage: FirstStage, g: Array, witness: Array, tolerance: Tolerance, groups: NDArray[np.int64] | None
) -> NDArray[np.bool_]:
    """Return where stage one and another gradient say the same within their bounds, and `g` is far from it."""
    with np.errstate(all="ignore"):
        allowed = tolerance.at(witness, stage.value, stage.scale, groups)
        same = np.abs(witness - stage.value) + stage.error <= allowed
        apart = np.abs(g - stage.value) > CONVICTED * tolerance.at(g, stage.value, stage.scale, groups)
    return np.asarray(same & apart & _straight(stage) & stage.finite & stage.moved)


def _straight(stage: FirstStage) -> NDArray[np.bool_]:
    """Return where both sides of the difference have one slope."""
    with np.errstate(all="ignore"):
        allowed = 1e-2 * np.maximum(np.abs(stage.value), 1e-2 * stage.scale) + 8 * stage.noise
    return np.asarray(stage.asymmetry <= allowed)


def _read(
    base: Assessment,
    suspects: NDArray[np.int64],
    slopes: list[Slope],
    g: Array,
    tolerance: Tolerance,
    trusted: bool,
    groups: NDArray[np.int64] | None,
) -> None:
    """Enter what ladders say of some elements."""
    for i, slope in zip(suspects, slopes, strict=True):
        base.label[i], base.value[i], base.error[i] = slope.label, slope.value, slope.error
        base.low[i], base.high[i] = slope.low, slope.high
        if slope.steps and trusted:
            base.value[i], base.error[i] = 0.0, 0.0
        base.scale[i] = slope.scale
    tol = tolerance.at(g, base.value, base.scale, groups)
    for i, slope in zip(suspects, slopes, strict=True):
        base.outcome[i] = judge(float(g[i]), slope, float(tol[i]), tolerance.rtol, trusted)
    base.tolerance[:] = tol


def judge(g: float, slope: Slope, tol: float, rtol: float, trusted: bool = True) -> Outcome:
    """Return whether a gradient element agrees with a slope read off its ladder."""
    if not np.isfinite(g):
        return Outcome.UNDECIDED
    if slope.label in (Label.SMOOTH, Label.NOISY, Label.FLAT, Label.EDGE):
        if slope.label == Label.FLAT and not trusted:
            return Outcome.UNDECIDED
        if abs(g - slope.value) > tol + slope.error:
            return Outcome.WRONG
        return Outcome.AGREES if slope.error <= max(tol, 1e-2 * abs(slope.value)) else Outcome.UNDECIDED
    if slope.label == Label.KINK:
        margin = max(tol, rtol * max(abs(slope.low), abs(slope.high))) + slope.error
        return Outcome.AGREES if slope.low - margin <= g <= slope.high + margin else Outcome.WRONG
    if slope.label == Label.STAIRCASE:
        return _judge_staircase(g, slope, tol, trusted)
    return Outcome.UNDECIDED


def _judge_staircase(g: float, slope: Slope, tol: float, trusted: bool) -> Outcome:
    if slope.steps and trusted:
        return Outcome.AGREES if abs(g) <= tol else Outcome.WRONG
    return Outcome.AGREES if abs(g - slope.value) <= slope.error + tol else Outcome.UNDECIDED
