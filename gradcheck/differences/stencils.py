# SPDX-License-Identifier: Apache-2.0
"""Central differences of a vector function: per coordinate, at one step or along a ladder.

Differences are taken per output and only then contracted with the cotangent, so that the
noise of outputs that do not move stays out.  Widths are jittered: dyadic steps align with the
rounding grid and repeat the same wrong digits at every level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradcheck.differences.coloring import Blocks, ranks
from gradcheck.differences.ladder import Rungs, Slope, read_ladder
from gradcheck.differences.vector_function import (
    CHUNK_NUMBERS,
    STAGE_ONE_EXPONENT,
    Point,
    evaluate_inside,
    power_of_two,
)
from gradcheck.numerics.arrays import Array


@dataclass(frozen=True, slots=True)
class LadderShape:
    """Give the ratio of a ladder and, as exponents of two, its coarsest and finest width."""

    ratio: int = 3
    top: int = -2
    bottom: int = -38
    stage_one: int = STAGE_ONE_EXPONENT


def ladder_shape(roundoff: float) -> LadderShape:
    """Return the ladder for functions computed with this unit roundoff."""
    if roundoff <= 2.0**-40:
        return LadderShape()
    if roundoff <= 2.0**-20:
        return LadderShape(ratio=2, top=-1, bottom=-22, stage_one=-8)
    return LadderShape(ratio=1, top=-1, bottom=int(np.log2(roundoff)) + 2, stage_one=-3)


@dataclass(frozen=True, slots=True)
class Sides:
    """Hold both sides of differences, a row per difference: outputs (b, k) and steps (b,).

    `y` and `v` (b, k) are the value and the cotangent of the outputs that the coordinate of
    the row can move: all of them, or those of its block.
    """

    plus: Array
    minus: Array
    step_plus: Array
    step_minus: Array
    y: Array
    v: Array

    def select(self, rows: NDArray[np.int64]) -> Sides:
        """Return some of the differences."""
        return Sides(*(getattr(self, name)[rows] for name in self.__slots__))

    @property
    def output_size(self) -> Array:
        """Return sum |v||Y0| of each row."""
        return np.asarray(np.sum(np.abs(self.v * self.y), axis=1))

    @property
    def output_norm(self) -> Array:
        """Return the 2-norm of v * Y0 of each row."""
        return np.asarray(np.linalg.norm(self.v * self.y, axis=1))


def coordinate_sides(point: Point, blocks: Blocks | None, coordinates: NDArray[np.int64], widths: Array) -> Sides:
    """Evaluate f at x +- width along each coordinate, one difference per entry; all are in `blocks`, or in none."""
    if blocks is None:
        rows = np.arange(len(coordinates))
        shape = (len(rows), point.y.size)
        sides = _both_sides(point, coordinates, widths, rows)
        return Sides(*sides, np.broadcast_to(point.y, shape), np.broadcast_to(point.cotangent, shape))
    return _block_sides(point, blocks, coordinates, widths)


def _block_sides(point: Point, blocks: Blocks, coordinates: NDArray[np.int64], widths: Array) -> Sides:
    owner = blocks.of(coordinates)
    reached, rows_of = blocks.outputs[owner], ranks(owner)
    plus, minus = np.empty(reached.shape), np.empty(reached.shape)
    step_plus, step_minus = np.empty(len(rows_of)), np.empty(len(rows_of))
    room = max(1, CHUNK_NUMBERS // (2 * max(point.x.size, point.y.size)))
    for start in range(0, int(rows_of.max(initial=-1)) + 1, room):
        own = np.flatnonzero((rows_of >= start) & (rows_of < start + room))
        rows = rows_of[own] - start
        ahead, behind, step_plus[own], step_minus[own] = _both_sides(point, coordinates[own], widths[own], rows)
        plus[own], minus[own] = ahead[rows[:, None], reached[own]], behind[rows[:, None], reached[own]]
    return Sides(plus, minus, step_plus, step_minus, point.y[reached], point.cotangent[reached])


def _both_sides(
    point: Point, coordinates: NDArray[np.int64], widths: Array, rows_of: NDArray[np.int64]
) -> tuple[Array, Array, Array, Array]:
    """Return a row of outputs per evaluation on both sides, and the step that each coordinate really takes."""
    count = int(rows_of.max(initial=-1)) + 1
    rows = np.repeat(point.x[None], 2 * count, axis=0)
    rows[rows_of, coordinates] += widths
    rows[count + rows_of, coordinates] -= widths
    rows = point.quantize(rows)
    base = point.x[coordinates]
    steps = rows[rows_of, coordinates] - base, rows[count + rows_of, coordinates] - base
    values = evaluate_inside(point, rows)
    return (values[:count], values[count:], *steps)


def contract(sides: Sides, counted: NDArray[np.bool_] | None = None) -> Rungs:
    """Contract differences with the cotangent.

    `counted` (b, k) are the outputs whose rounding counts; the default is those that move at
    any of the given differences (of one coordinate), because an output that stays within one
    rounding step at a fine width is not free of noise.
    """
    v, weight = sides.v, np.abs(sides.v)
    with np.errstate(all="ignore"):
        moved = (sides.plus != sides.y) | (sides.minus != sides.y)
        finite_plus = np.asarray(np.isfinite(sides.plus).all(axis=1))
        finite_minus = np.asarray(np.isfinite(sides.minus).all(axis=1))
        usable = finite_plus & finite_minus
        if counted is None:
            counted = moved[usable].any(axis=0) if usable.any() else np.zeros(moved.shape[1], bool)
        largest = np.maximum(np.abs(sides.plus), np.abs(sides.minus))
        ahead, behind = (sides.plus - sides.y) * v, (sides.y - sides.minus) * v
        return Rungs(
            width=(sides.step_plus - sides.step_minus) / 2,
            odd=_dot(sides.plus - sides.minus, v),
            plus=ahead.sum(axis=1),
            minus=behind.sum(axis=1),
            lower=np.minimum(ahead, behind).sum(axis=1),
            upper=np.maximum(ahead, behind).sum(axis=1),
            magnitude=_dot(np.where(counted, largest, 0.0), weight),
            spread=_dot(np.abs(sides.plus - sides.minus), weight),
            moved=moved.any(axis=1),
            finite_plus=finite_plus,
            finite_minus=finite_minus,
        )


def _dot(rows: Array, v: Array) -> Array:
    return np.asarray(np.einsum("bk,bk->b", rows, v))


def ladder_widths(point: Point, coordinate: int, rng: np.random.Generator) -> Array:
    """Return the jittered half-widths of the ladder along a coordinate, coarsest first."""
    shape = ladder_shape(point.roundoff)
    top = int(np.floor(np.log2(max(abs(point.x[coordinate]), 1.0)))) + shape.top
    bottom = int(np.floor(np.log2(point.sizes[coordinate]))) + shape.bottom
    exponents = np.arange(top, min(bottom, top - 4 * shape.ratio) - 1, -shape.ratio)
    return np.asarray(2.0**exponents * rng.uniform(1, 1.6, len(exponents)))


def slopes_along(point: Point, coordinates: NDArray[np.int64], rng: np.random.Generator) -> list[Slope]:
    """Climb the ladders of some coordinates and read a slope off each.

    Ladders are evaluated in groups, as many as one chunk of memory holds.
    """
    ladders = [ladder_widths(point, int(c), rng) for c in coordinates]
    longest = max((len(w) for w in ladders), default=1)
    slopes: dict[int, Slope] = {}
    for blocks, chosen in point.alike(coordinates):
        room = max(1, point.entries_per_chunk(blocks) // (2 * longest))
        for start in range(0, len(chosen), room):
            places = chosen[start : start + room]
            lengths = [len(ladders[i]) for i in places]
            where = np.repeat(coordinates[places], lengths)
            sides = coordinate_sides(point, blocks, where, np.concatenate([ladders[i] for i in places]))
            taken = (sides.step_plus > 0) & (sides.step_minus < 0)
            ends, sizes = np.cumsum(lengths), sides.output_size
            for i, end, length in zip(places, ends, lengths, strict=True):
                own = np.arange(end - length, end)
                one = sides.select(own[taken[own]])
                size = float(sizes[end - 1]) if length else 0.0
                slopes[int(i)] = read_ladder(contract(one), abs(float(point.x[coordinates[i]])), size, point.roundoff)
    return [slopes[i] for i in range(len(coordinates))]


def convergence_along(point: Point, coordinate: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the half-widths of the ladder along a coordinate and the central difference at each."""
    widths = ladder_widths(point, coordinate, rng)
    along = np.full(len(widths), coordinate)
    (blocks, _), *_ = point.alike(along)
    sides = coordinate_sides(point, blocks, along, widths)
    taken = np.where((sides.step_plus > 0) & (sides.step_minus < 0))[0]
    rungs = contract(sides.select(taken))
    with np.errstate(all="ignore"):
        return rungs.width, rungs.odd / (2 * rungs.width)


@dataclass(frozen=True, slots=True)
class FirstStage:
    """Hold cheap four-point slopes of many coordinates with a bound that may be too small."""

    value: Array
    error: Array
    scale: Array
    asymmetry: Array
    noise: Array
    finite: NDArray[np.bool_]
    moved: NDArray[np.bool_]


def first_stage(point: Point, coordinates: NDArray[np.int64], rng: np.random.Generator) -> FirstStage:
    """Difference every coordinate at two widths near 2**-17 of its size."""
    exponent = ladder_shape(point.roundoff).stage_one
    wide = power_of_two(point.sizes[coordinates]) * 2.0**exponent * rng.uniform(1, 1.6, len(coordinates))
    narrow = wide * 0.5 * rng.uniform(0.9, 1.1, len(coordinates))
    numbers, marks = np.zeros((5, len(coordinates))), np.zeros((2, len(coordinates)), bool)
    whole = FirstStage(*numbers, *marks)
    for blocks, chosen in point.alike(coordinates):
        chunk = max(1, point.entries_per_chunk(blocks) // 4)
        for start in range(0, len(chosen), chunk):
            places = chosen[start : start + chunk]
            part = _four_points(point, blocks, coordinates[places], wide[places], narrow[places])
            for name in FirstStage.__slots__:
                getattr(whole, name)[places] = getattr(part, name)
    return whole


def _four_points(
    point: Point, blocks: Blocks | None, coordinates: NDArray[np.int64], wide: Array, narrow: Array
) -> FirstStage:
    count = len(coordinates)
    sides = coordinate_sides(point, blocks, np.tile(coordinates, 2), np.concatenate([wide, narrow]))
    with np.errstate(all="ignore"):
        moved = (sides.plus != sides.y) | (sides.minus != sides.y)
        either = np.tile(moved[:count] | moved[count:], (2, 1))
        rungs = contract(sides, either)
        slope = rungs.odd / (2 * rungs.width)
        ratio = rungs.width[:count] / rungs.width[count:]
        coarse, fine = slope[:count], slope[count:]
        value = fine + (fine - coarse) / (ratio * ratio - 1)
        both = rungs.moved[:count] & rungs.moved[count:]
        magnitude = np.maximum(rungs.magnitude[:count], rungs.magnitude[count:])
        magnitude = np.maximum(np.where(both, magnitude, sides.output_size[:count]), sides.output_norm[:count])
        width = rungs.width[count:]
        noise = 2 * point.roundoff * (magnitude + np.abs(point.x[coordinates] * value)) / width
        return FirstStage(
            value=value,
            error=np.abs(fine - coarse) + noise * 5 / 3,
            scale=rungs.spread[count:] / (2 * width),
            asymmetry=np.abs(rungs.plus[count:] - rungs.minus[count:]) / width,
            noise=noise,
            finite=rungs.finite[:count] & rungs.finite[count:] & np.isfinite(value),
            moved=rungs.moved[:count] | rungs.moved[count:],
        )


def long_slopes(
    point: Point, coordinates: NDArray[np.int64], shares: tuple[float, float] = (2.0**-6, 1.3 * 2.0**-9)
) -> Array:
    """Return slopes (2, n) over long steps, in which a rounding to float32 inside is lost.

    A step is each of `shares` of a coordinate's size.
    """
    widths = np.outer(shares, point.sizes[coordinates])
    sides = coordinate_sides(point, None, np.tile(coordinates, 2), widths.ravel())
    with np.errstate(all="ignore"):
        slopes = np.sum((sides.plus - sides.minus) * sides.v, axis=1) / (sides.step_plus - sides.step_minus)
    return np.asarray(slopes.reshape(widths.shape))


def moves_when_pushed(point: Point, coordinates: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return whether any output moves when a coordinate moves by about a quarter of its size.

    Near an extremum of a smooth function fine steps move nothing, yet the slope is not zero.
    """
    moved = np.zeros(len(coordinates), bool)
    for blocks, chosen in point.alike(coordinates):
        chunk = max(1, point.entries_per_chunk(blocks) // 2)
        for start in range(0, len(chosen), chunk):
            places = chosen[start : start + chunk]
            part = coordinates[places]
            widths = power_of_two(np.maximum(np.abs(point.x[part]), 1.0)) / 4 * rng.uniform(1, 1.6, len(part))
            sides = coordinate_sides(point, blocks, part, widths)
            changed = (sides.plus != sides.y) | (sides.minus != sides.y)
            moved[places] = (changed & np.isfinite(sides.y)).any(axis=1)
    return moved
