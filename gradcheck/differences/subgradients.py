# SPDX-License-Identifier: Apache-2.0
"""Judge a gradient where values tie: at max(a, b) with a = b, (1, 0) and (0.5, 0.5) will do, (1, 1) will not.

Each coordinate alone allows any slope between its one-sided ones; coordinates that meet in one
kink must also fit together, which shows when they are moved at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradcheck.differences.vector_function import Point, evaluate_inside
from gradcheck.numerics.arrays import Array

STEP = 2.0**-20
# Coordinates whose partners are looked for, coordinates that may be partners, and partners of one.
SEEDS, CANDIDATES, PARTNERS = 8, 1024, 16
MEETING = 1e-3


@dataclass(frozen=True, slots=True)
class OneSided:
    """Hold the slopes to both sides along a direction, and what a gradient gives there."""

    low: float
    high: float
    given: float


def outside_of_subgradients(point: Point, gradient: Array, kinks: NDArray[np.int64]) -> OneSided | None:
    """Return the slopes along tied coordinates that `gradient` (n,) contradicts, None if there are none.

    A subgradient of Clarke (1983) lies between the one-sided slopes of each output along a
    direction; each output may take its own.  Only coordinates that meet in a kink are moved
    together: of kinks apart every choice is good.
    """
    for group in _groups(point, kinks):
        slopes = _along(point, gradient, group)
        margin = MEETING * float(np.abs(gradient[group]).sum())
        if slopes is not None and not slopes.low - margin <= slopes.given <= slopes.high + margin:
            return slopes
    return None


def _groups(point: Point, kinks: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield pairs of coordinates that meet in a kink, and all that meet one coordinate."""
    candidates = kinks[:: max(1, -(-kinks.size // CANDIDATES))]
    for seed in candidates[:: max(1, candidates.size // SEEDS)][:SEEDS]:
        partners = _partners(point, int(seed), candidates)
        yield from (np.array([seed, other]) for other in partners)
        if len(partners) > 1:
            yield np.array([seed, *partners])


def _partners(point: Point, seed: int, candidates: NDArray[np.int64]) -> list[int]:
    """Return coordinates that move an output together with `seed` otherwise than both do alone."""
    step = _step(point, candidates)
    alone = _moved(point, [np.array([seed])], step)[0]
    reached = alone != 0
    if not np.isfinite(alone).all() or not reached.any():
        return []
    found: list[int] = []
    others = candidates[candidates != seed]
    rows = max(1, point.rows_per_chunk() // 2)
    for start in range(0, others.size, rows):
        part = others[start : start + rows]
        single = _moved(point, [np.array([other]) for other in part], step)
        meeting = np.where(((single != 0) & reached).any(axis=1))[0]
        if not meeting.size:
            continue
        both = _moved(point, [np.array([seed, part[k]]) for k in meeting], step)
        weight = np.abs(point.cotangent)
        with np.errstate(all="ignore"):
            apart = np.abs(both - single[meeting] - alone) @ weight
            size = np.minimum(np.abs(single[meeting]) @ weight, np.abs(alone) @ weight)
        found += [int(part[k]) for k, gap, most in zip(meeting, apart, size, strict=True) if gap > MEETING * most]
        if len(found) >= PARTNERS:
            return found[:PARTNERS]
    return found


def _step(point: Point, coordinates: NDArray[np.int64]) -> float:
    return STEP * float(np.median(point.sizes[coordinates]))


def _moved(point: Point, groups: list[NDArray[np.int64]], step: float) -> Array:
    """Return f(x + step on a group) - f(x), a row per group."""
    rows = np.repeat(point.x[None], len(groups), axis=0)
    for row, group in zip(rows, groups, strict=True):
        row[group] += step
    return evaluate_inside(point, point.quantize(rows)) - point.y


def _along(point: Point, gradient: Array, group: NDArray[np.int64]) -> OneSided | None:
    step = _step(point, group)
    with np.errstate(all="ignore"):
        ahead = point.cotangent * _moved(point, [group], step)[0] / step
        behind = -point.cotangent * _moved(point, [group], -step)[0] / step
        low, high = float(np.minimum(ahead, behind).sum()), float(np.maximum(ahead, behind).sum())
    if not (np.isfinite(low) and np.isfinite(high)):
        return None
    return OneSided(low, high, float(gradient[group].sum()))
