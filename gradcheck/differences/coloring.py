# SPDX-License-Identifier: Apache-2.0
"""Find inputs and outputs that fall into independent blocks: elements, rows, columns, items of a batch.

Coordinates of one input in different blocks do not meet in any output, so one evaluation moves one of
each block at once.  This is the compression of sparse Jacobians by colouring (Curtis, Powell and
Reid, 1974) for the patterns that ops have: an axis of the input that reappears as an axis of every
output.  Random subsets of blocks verify it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# Half the memory of a default index, and more than any memory holds.
Indices = NDArray[np.int32]
# f: (b, n) -> (b, m)
Evaluate = Callable[[Array], Array]

SUBSETS = 3
# Few coordinates are cheap one by one; more than this are looked at along directions, and their blocks
# serve only to measure some of them.
LEAST, MOST = 8, 100_000
# Fine steps find what depends on what here; a coarse one finds a maximum or a sort over the blocks.
WIDTHS = (2.0**-17, 2.0**-17, 2.0**-4)


@dataclass(frozen=True, slots=True)
class Part:
    """Describe one packed tensor: its shape, coordinates per entry (2 if complex), and whether all are free."""

    shape: tuple[int, ...]
    reals: int = 1
    plain: bool = True

    @property
    def entries(self) -> int:
        """Return the number of entries of the tensor."""
        return math.prod(self.shape)

    @property
    def width(self) -> int:
        """Return the number of coordinates."""
        return self.entries * self.reals


@dataclass(frozen=True, slots=True)
class Blocks:
    """Number the block of each coordinate of one input, which `part` are, and list each block's outputs (r, k)."""

    part: slice
    of_input: Indices
    outputs: Indices

    @property
    def cost(self) -> int:
        """Return how many evaluations move every coordinate once."""
        return len(self.of_input) // len(self.outputs)

    def of(self, coordinates: NDArray[np.int64]) -> Indices:
        """Return the blocks of coordinates, all of which are in `part`."""
        return np.asarray(self.of_input[coordinates - self.part.start])


def ranks(blocks: Indices) -> NDArray[np.int64]:
    """Return how many of the same block come before each entry."""
    order = np.argsort(blocks, kind="stable")
    starts = np.r_[0, np.flatnonzero(np.diff(blocks[order])) + 1]
    before = np.arange(len(blocks)) - np.repeat(starts, np.diff(np.r_[starts, len(blocks)]))
    found = np.empty(len(blocks), np.int64)
    found[order] = before
    return found


def find_blocks(
    evaluate: Evaluate,
    x: Array,
    y: Array,
    sizes: Array,
    inputs: Sequence[Part],
    outputs: Sequence[Part],
    rng: np.random.Generator,
) -> tuple[Blocks, ...]:
    """Return the finest independent blocks that are found of each input of f: (b, n) -> (b, m) at x."""
    if not all(part.plain for part in outputs) or not np.isfinite(y).all() or sum(p.width for p in inputs) != x.size:
        return ()
    found, end = [], 0
    for one in inputs:
        start, end = end, end + one.width
        if not one.plain or one.width < LEAST or not outputs:
            continue
        steps = _Steps(evaluate, x, y, sizes, slice(start, end))
        for blocks in _candidates(steps, one, outputs, rng):
            if _verified(steps, blocks, rng):
                found.append(blocks)
                break
    return tuple(found)


def independent(evaluate: Evaluate, x: Array, y: Array, sizes: Array, blocks: Blocks, rng: np.random.Generator) -> bool:
    """Return whether moving some blocks leaves the outputs of the others as they are, at x."""
    return _verified(_Steps(evaluate, x, y, sizes, blocks.part), blocks, rng)


@dataclass(frozen=True, slots=True)
class _Steps:
    """Move some coordinates of one input, which `part` are, away from x."""

    evaluate: Evaluate
    x: Array
    y: Array
    sizes: Array
    part: slice

    @property
    def many(self) -> bool:
        """Return whether evaluations are dear."""
        return self.x.size > MOST

    def drawn(self, width: float, rng: np.random.Generator) -> Array:
        """Return a step for each coordinate of the input, about `width` of its size, to either side."""
        sizes = self.sizes[self.part]
        return np.asarray(sizes * width * rng.choice([-1.0, 1.0], sizes.size) * rng.uniform(0.7, 1.0, sizes.size))

    def taken(self, step: Array) -> Array:
        """Return the outputs after a step."""
        moved = self.x.copy()
        moved[self.part] += step
        return np.asarray(self.evaluate(moved[None])[0])


def _candidates(steps: _Steps, one: Part, outputs: Sequence[Part], rng: np.random.Generator) -> Iterator[Blocks]:
    """Yield blocks of an input, the finest first."""
    if all(part.entries == one.entries for part in outputs):
        flat = [Part((part.entries,), part.reals) for part in (one, *outputs)]
        yield _along(steps.part, flat[0], flat[1:], {0: (0,) * len(outputs)})
    if not steps.many:
        pairs = _paired_axes(steps, one, outputs, rng)
        if pairs:
            yield _along(steps.part, one, outputs, pairs)


def _along(part: slice, one: Part, outputs: Sequence[Part], pairs: Mapping[int, Sequence[int]]) -> Blocks:
    """Return the blocks along paired axes: axes of the input, each with its axis of every output."""
    of_output = np.concatenate([_numbers(p, [axes[i] for axes in pairs.values()]) for i, p in enumerate(outputs)])
    count = math.prod(one.shape[axis] for axis in pairs)
    order = np.argsort(of_output, kind="stable").astype(np.int32)
    return Blocks(part, _numbers(one, list(pairs)), order.reshape(count, -1))


def _numbers(part: Part, axes: Sequence[int]) -> Indices:
    """Return the place along some axes of each coordinate; a complex tensor is packed as real, then imaginary parts."""
    number = np.zeros((1,) * len(part.shape), np.int32)
    for axis in axes:
        places = np.arange(part.shape[axis], dtype=np.int32)
        number = number * part.shape[axis] + places.reshape(_spanning(axis, part))
    return np.tile(np.broadcast_to(number, part.shape).ravel(), part.reals)


def _spanning(axis: int, part: Part) -> list[int]:
    """Return the shape in which values along one axis broadcast to the shape of the part."""
    return [-1 if i == axis else 1 for i in range(len(part.shape))]


def _paired_axes(
    steps: _Steps, one: Part, outputs: Sequence[Part], rng: np.random.Generator
) -> dict[int, tuple[int, ...]]:
    """Return those axes of an input that reappear in every output, and as which of its axes."""
    pairs: dict[int, tuple[int, ...]] = {}
    taken: list[set[int]] = [set() for _ in outputs]
    for axis in range(len(one.shape)):
        fitting = _fitting_axes(steps, one, axis, outputs, rng)
        free = [fits - used for fits, used in zip(fitting, taken, strict=True)]
        if all(free):
            pairs[axis] = tuple(_nearest(axis, one, part, fits) for part, fits in zip(outputs, free, strict=True))
            for used, other in zip(taken, pairs[axis], strict=True):
                used.add(other)
    return pairs


def _nearest(axis: int, one: Part, output: Part, fits: set[int]) -> int:
    """Return of the axes that fit the one at the same place, counted from the front or from the back."""
    same = (axis, len(output.shape) - len(one.shape) + axis)
    return next(other for other in (*same, *sorted(fits)) if other in fits)


def _fitting_axes(
    steps: _Steps, one: Part, axis: int, outputs: Sequence[Part], rng: np.random.Generator
) -> list[set[int]]:
    """Return for each output the axes along which it moves only where an axis of the input does.

    A random half of the axis moves, then the other: an axis that mixes the two fits none.
    """
    count = one.shape[axis]
    fitting = [{i for i, n in enumerate(part.shape) if n == count} if count > 1 else set() for part in outputs]
    for width in WIDTHS:
        step, half = steps.drawn(width, rng), _half(count, rng)
        for moving in (half, ~half):
            if not all(fitting):
                return fitting
            member = np.broadcast_to(moving.reshape(_spanning(axis, one)), one.shape).ravel()
            moved = steps.taken(step * np.tile(member, one.reals)) != steps.y
            for fits, (part, own) in zip(fitting, _each(outputs, moved), strict=True):
                fits -= {other for other in fits if np.any(_moves_along(part, own, other) & ~moving)}
    return fitting


def _half(count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    return np.asarray(rng.permutation(count) < count // 2)


def _each(outputs: Sequence[Part], values: NDArray[np.bool_]) -> Iterator[tuple[Part, NDArray[np.bool_]]]:
    end = 0
    for part in outputs:
        start, end = end, end + part.width
        yield part, values[start:end]


def _moves_along(part: Part, moved: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """Return at which places along an axis anything moves."""
    whole = moved.reshape(part.reals, *part.shape)
    return np.asarray(whole.any(axis=tuple(i for i in range(whole.ndim) if i != axis + 1)))


def _verified(steps: _Steps, blocks: Blocks, rng: np.random.Generator) -> bool:
    """Return whether random subsets of blocks move their outputs as they do beside the others, and no other."""
    moved = False
    widths, subsets = (WIDTHS[:1], 1) if steps.many else (WIDTHS, SUBSETS)
    for width in widths:
        step = steps.drawn(width, rng)
        chosen = rng.random((subsets, len(blocks.outputs))) < 0.5
        whole = steps.taken(step)
        if not np.isfinite(whole).all():
            return False
        for subset in chosen:
            expected = steps.y.copy()
            expected[blocks.outputs[subset]] = whole[blocks.outputs[subset]]
            if not np.array_equal(steps.taken(step * subset[blocks.of_input]), expected):
                return False
        moved |= bool(np.any(whole != steps.y))
    return moved
