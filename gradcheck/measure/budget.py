"""Choose by cost whether every element of a gradient is differenced, or random directions."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from gradcheck.differences import coloring
from gradcheck.differences.assess import LADDER_LIMIT
from gradcheck.differences.vector_function import Point

# Evaluations that move every coordinate once, and numbers that go in and out of them, beyond which
# directions are taken.
EVALUATIONS, NUMBERS = 2500, 2**25
# Shares of the time that a case has: for moving every coordinate once, for all ladders, and for what only
# sharpens the name of a mistake.
FULL, LADDERS, CAUSES = 1 / 24, 1 / 6, 1 / 120
# Evaluations of a ladder, and ladders that are climbed however long it takes.
RUNGS, AT_LEAST = 26, 4
LEAST_SECONDS = 1e-6
# So few evaluations are timed one by one; so many are timed together, as they are taken together.
FEW, TOGETHER = 32, 64


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
    affordable &= point.x.size <= coloring.MOST and cost * each <= FULL * seconds
    kind = wanted if wanted != "auto" else "full" if affordable else "directional"
    shared = cost / max(point.x.size, 1) if kind == "full" else 1.0
    ladders = int(np.clip(LADDERS * seconds / (RUNGS * each * shared), AT_LEAST, LADDER_LIMIT))
    return Coverage(kind, ladders, kind == "full" and cost * each <= CAUSES * seconds)


def _seconds_each(point: Point, seconds: float) -> float:
    """Return the time of one evaluation: of one alone, and of those of a batch if that seems slow."""
    cost, taken = point.cost(), 0.0
    batch = min(TOGETHER, point.rows_per_chunk()) if cost > FEW else 1
    for rows in (1, 1, batch):
        started = time.perf_counter()
        point.evaluate(point.x[None].repeat(rows, axis=0))
        taken = (time.perf_counter() - started) / rows
        if taken * cost <= CAUSES * seconds:
            break
    # A clock that stands still, as tests freeze it, measures nothing.
    return max(taken, LEAST_SECONDS)
