"""Find inputs and outputs that fall into independent blocks: elements, rows, items of a batch.

Coordinates of different blocks do not meet in any output, so one evaluation moves one of each
block at once.  This is the compression of sparse Jacobians by colouring (Curtis, Powell and
Reid, 1974) for the patterns that ops have; random subsets of blocks verify it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# Half the memory of a default index, and more than any memory holds.
Indices = NDArray[np.int32]

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
    def width(self) -> int:
        """Return the number of coordinates."""
        return math.prod(self.shape) * self.reals


@dataclass(frozen=True, slots=True)
class Blocks:
    """Number the block of each input coordinate (-1: shared by all), and list each block's outputs (r, k)."""

    of_input: Indices
    outputs: Indices


def find_blocks(
    evaluate: Callable[[Array], Array],
    x: Array,
    y: Array,
    sizes: Array,
    inputs: Sequence[Part],
    outputs: Sequence[Part],
    rng: np.random.Generator,
) -> Blocks | None:
    """Return the finest independent blocks of f: (b, n) -> (b, m) at x, None if there are none."""
    if not outputs or x.size < LEAST or not np.isfinite(y).all() or sum(p.width for p in inputs) != x.size:
        return None
    for blocks in _candidates(inputs, outputs):
        if independent(evaluate, x, y, sizes, blocks, rng):
            return blocks
    return None


def _candidates(inputs: Sequence[Part], outputs: Sequence[Part]) -> Iterator[Blocks]:
    depth = min(len(part.shape) for part in outputs)
    for axes in dict.fromkeys((depth, depth - 1, 1)):
        prefix = outputs[0].shape[:axes]
        count = math.prod(prefix)
        if axes < 1 or count < 2 or any(part.shape[:axes] != prefix or not part.plain for part in outputs):
            continue
        own = [part.plain and len(part.shape) >= axes and part.shape[:axes] == prefix for part in inputs]
        if not any(own):
            continue
        of_input = [
            _numbers(p, count) if mine else np.full(p.width, -1, np.int32) for p, mine in zip(inputs, own, strict=True)
        ]
        owner = np.concatenate([_numbers(part, count) for part in outputs])
        order = np.argsort(owner, kind="stable").astype(np.int32).reshape(count, -1)
        yield Blocks(np.concatenate(of_input), order)


def _numbers(part: Part, count: int) -> Indices:
    """Return the block of each coordinate; a complex tensor is packed as its real, then its imaginary parts."""
    entries = math.prod(part.shape)
    return np.tile(np.repeat(np.arange(count, dtype=np.int32), entries // count), part.reals)


def independent(
    evaluate: Callable[[Array], Array],
    x: Array,
    y: Array,
    sizes: Array,
    blocks: Blocks,
    rng: np.random.Generator,
) -> bool:
    """Return whether moving some blocks leaves the outputs of the others as they are, at x."""
    mine = blocks.of_input >= 0
    count = len(blocks.outputs)
    moved = False
    widths, subsets = (WIDTHS, SUBSETS) if x.size <= MOST else (WIDTHS[:1], 1)
    for width in widths:
        step = np.where(mine, sizes * width * rng.choice([-1.0, 1.0], x.size) * rng.uniform(0.7, 1.0, x.size), 0.0)
        chosen = rng.random((subsets, count)) < 0.5
        member = np.where(mine, chosen[:, np.maximum(blocks.of_input, 0)], False)
        whole = evaluate((x + step)[None])[0]
        if not np.isfinite(whole).all():
            return False
        for subset, own in zip(chosen, member, strict=True):
            expected = y.copy()
            expected[blocks.outputs[subset]] = whole[blocks.outputs[subset]]
            if not np.array_equal(evaluate((x + step * own)[None])[0], expected):
                return False
        moved |= bool(np.any(whole != y))
    return moved
