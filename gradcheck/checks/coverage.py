"""Choose by cost whether every element of a gradient is differenced, or random directions."""

from __future__ import annotations

import time

from gradcheck.numerics import blocks
from gradcheck.numerics.point import Point

# Evaluations that move every coordinate once, numbers that go in and out of them, and seconds
# that they take, beyond which directions are taken.
EVALUATIONS, NUMBERS, SECONDS = 2500, 2**25, 5.0
# So few evaluations are not timed first; so many are timed together, as many as are compiled together.
FEW, TOGETHER = 32, 64


def coverage_of(wanted: str, point: Point) -> str:
    """Return `full` or `directional`: what was wanted, or for `auto` what `point` can be looked at in a few seconds."""
    if wanted != "auto":
        return wanted
    cost = point.cost()
    cheap = cost <= EVALUATIONS and cost * (point.x.size + point.y.size) <= NUMBERS and point.x.size <= blocks.MOST
    return "full" if cheap and (cost <= FEW or cost * _seconds_each(point) <= SECONDS) else "directional"


def _seconds_each(point: Point) -> float:
    """Return the time of one evaluation: of one alone, and of those of a batch if that seems slow."""
    taken = 0.0
    for rows in (1, 1, min(TOGETHER, point.rows_per_chunk())):
        started = time.perf_counter()
        point.evaluate(point.x[None].repeat(rows, axis=0))
        taken = (time.perf_counter() - started) / rows
        if taken * point.cost() <= SECONDS:
            break
    return taken
