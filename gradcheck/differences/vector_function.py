# SPDX-License-Identifier: Apache-2.0
"""A vector function at a point: what is differenced, how large its coordinates are, and where it may be evaluated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gradcheck.differences.coloring import Blocks, independent, ranks
from gradcheck.numerics.arrays import Array

FLOAT64_ROUNDOFF = 2.0**-53
STAGE_ONE_EXPONENT = -17
CHUNK_NUMBERS = 2**21


@dataclass(frozen=True)
class Point:
    """Hold a function y = f(x) at one point with one cotangent.

    `evaluate` maps rows of points (b, n) to rows of outputs (b, m); `low` and `high` (n,)
    bound the domain; `quantize` rounds a point to what the function really receives;
    `roundoff` is the unit roundoff at which f is computed; `groups` (n,) numbers the input to
    which each coordinate belongs; `blocks` are those of each input that falls into independent ones.
    """

    evaluate: Callable[[Array], Array]
    x: Array
    y: Array
    cotangent: Array
    low: Array
    high: Array
    roundoff: float = FLOAT64_ROUNDOFF
    quantize: Callable[[Array], Array] = lambda rows: rows
    groups: NDArray[np.int64] | None = None
    blocks: tuple[Blocks, ...] = ()

    @cached_property
    def sizes(self) -> Array:
        """Return the size of each coordinate, the median size (or 1) for zeros."""
        size = np.abs(self.x)
        if (size > 0).all():
            return size
        typical = float(np.median(size)) if size.size else 1.0
        return np.where(size > 0, size, typical if typical > 0 else 1.0)

    @cached_property
    def bounded(self) -> bool:
        """Return whether there is a domain to keep."""
        return bool(np.isfinite(self.low).any() or np.isfinite(self.high).any())

    @cached_property
    def output_size(self) -> float:
        """Return sum |v||Y0| over the finite outputs."""
        return float(np.sum(np.abs(self.cotangent * np.where(np.isfinite(self.y), self.y, 0.0))))

    @cached_property
    def output_norm(self) -> float:
        """Return the 2-norm of v * Y0 over the finite outputs."""
        return float(np.linalg.norm(self.cotangent * np.where(np.isfinite(self.y), self.y, 0.0)))

    def with_cotangent(self, cotangent: Array) -> Point:
        """Return the same point seen through another cotangent."""
        return replace(self, cotangent=cotangent)

    def elsewhere(self, x: Array, y: Array, cotangent: Array, rng: np.random.Generator) -> Point:
        """Return the function at another point; blocks are kept that are independent there too."""
        moved = replace(self, x=x, y=y, cotangent=cotangent)
        kept = (b for b in self.blocks if independent(moved.evaluate_clipped, x, y, moved.sizes, b, rng))
        return replace(moved, blocks=tuple(kept))

    def evaluate_clipped(self, rows: Array) -> Array:
        """Evaluate rows (b, n), clipped."""
        return self.evaluate(self.clipped(rows))

    def clipped(self, rows: Array) -> Array:
        """Return rows (b, n) or a point (n,), each coordinate moved to the edge of its domain if it is beyond."""
        return np.clip(rows, self.low, self.high) if self.bounded else rows

    def rows_per_chunk(self) -> int:
        """Return how many points are evaluated at once, so that memory stays bounded."""
        return int(np.clip(CHUNK_NUMBERS // max(self.x.size, self.y.size, 1), 4, 1024))

    def entries_per_chunk(self, blocks: Blocks | None) -> int:
        """Return how many differences are taken at once; those of different blocks share evaluations."""
        rows = self.rows_per_chunk()
        return rows if blocks is None else rows * len(blocks.outputs)

    def alike(self, coordinates: NDArray[np.int64]) -> Iterator[tuple[Blocks | None, NDArray[np.int64]]]:
        """Yield the places of coordinates that can be differenced together: those of one input's blocks, and the rest.

        Those of blocks come one of each block after another, so that any run of them shares its evaluations.
        """
        rest = np.ones(len(coordinates), bool)
        for blocks in self.blocks:
            inside = (coordinates >= blocks.part.start) & (coordinates < blocks.part.stop)
            rest &= ~inside
            own = np.flatnonzero(inside)
            if own.size:
                yield blocks, own[np.argsort(ranks(blocks.of(coordinates[own])), kind="stable")]
        if rest.any():
            yield None, np.flatnonzero(rest)

    def cost(self) -> int:
        """Return how many evaluations move every coordinate once."""
        return int(self.x.size) - sum(len(b.of_input) - b.cost for b in self.blocks)


def power_of_two(size: Array) -> Array:
    """Return the largest power of two not above each positive size; what is not finite stays."""
    power, exponent = np.frexp(size)
    np.ldexp(1.0, exponent - 1, out=power)
    np.copyto(power, size, where=~np.isfinite(size))
    return np.asarray(power)


def evaluate_inside(point: Point, rows: Array) -> Array:
    """Evaluate rows (b, n); a row outside the domain gives not-a-number."""
    if not point.bounded:
        return point.evaluate(rows)
    outside = np.any((rows < point.low) | (rows > point.high), axis=1)
    values = np.full((len(rows), point.y.size), np.nan)
    if not outside.all():
        values[~outside] = point.evaluate(rows[~outside])
    return values
