# SPDX-License-Identifier: Apache-2.0
"""Choose by cost whether every element of a gradient is differenced, or random directions."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from gradcheck.differences import coloring
from gradcheck.differences.assess import LADDER_LIMIT
from gradcheck.differences.vector_function import Point
from gradcheck.verdict.tolerances import (
    CAUSES_SHARE,
    EVALUATIONS,
    FEWEST_LADDERS,
    FULL_SHARE,
    LADDERS_SHARE,
    LEAST_SECONDS,
    NUMBERS,
    RUNGS,
    TIMED_ALONE,
    TIMED_TOGETHER,
)


@dataclass(frozen=True, slots=True)
class Coverage:
    """Say how much is differenced: `full` or `directional`, how many ladders, and whether all may be done again."""

    kind: str
    ladders: int
    repeated: bool


def coverage_of(wanted: str, point: Point, seconds: float) -> Coverage:
    """Return what was wanted, or for `auto` what `point` can be looked at within its share of `seconds`."""
    cost = point.cost()
    each = _seconds_each(point, seconds)
    affordable = cost <= EVALUATIONS and cost * (point.x.size + point.y.size) <= NUMBERS
    affordable &= point.x.size <= coloring.MOST and cost * each <= FULL_SHARE * seconds
    kind = wanted if wanted != "auto" else "full" if affordable else "directional"
    shared = cost / max(point.x.size, 1) if kind == "full" else 1.0
    ladders = int(np.clip(LADDERS_SHARE * seconds / (RUNGS * each * shared), FEWEST_LADDERS, LADDER_LIMIT))
    return Coverage(kind, ladders, kind == "full" and cost * each <= CAUSES_SHARE * seconds)


def _seconds_each(point: Point, seconds: float) -> float:
    """Return the time of one evaluation: of one alone, and of those of a batch if that seems slow."""
    cost, taken = point.cost(), 0.0
    batch = min(TIMED_TOGETHER, point.rows_per_chunk()) if cost > TIMED_ALONE else 1
    for rows in (1, 1, batch):
        started = time.perf_counter()
        point.evaluate(point.x[None].repeat(rows, axis=0))
        taken = (time.perf_counter() - started) / rows
        if taken * cost <= CAUSES_SHARE * seconds:
            break
    # A clock that stands still, as tests freeze it, measures nothing.
    return max(taken, LEAST_SECONDS)
