# SPDX-License-Identifier: Apache-2.0
"""Time and memory of the custom gradient beside autodiff of the plain forward."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.runtime import give_back
from gradcheck.numerics.arrays import Arrays
from gradcheck.results import Cost
from gradcheck.verdict.tolerances import COST_REPEATS, COST_SECONDS, KILO, LEAST_MEMORY
from gradcheck.ways import Way

if TYPE_CHECKING:
    from gradcheck.measure.lab import Lab

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def cost_at(lab: Lab, way: Way, values: Arrays, upstream: Arrays, rows: int) -> Cost | None:
    """Return what the gradient costs in one way at some inputs, None where either of the two cannot be run."""
    own, plain = lab.gradients, lab.gradients_of(lab.plain())
    runs = (own, plain)
    calls = refused(lambda: [own.prepared_forward(way, values), *(g.prepared(way, values, upstream) for g in runs)])
    if calls is None or refused(lambda: [call() for call in calls]) is None:
        return None
    forward, gradient, autodiff = _medians(calls)
    memory = [_peak(call) for call in calls[1:]]
    known = all(size is not None and size >= LEAST_MEMORY for size in memory)
    return Cost(way.label, rows, forward, gradient, autodiff, *(memory if known else (None, None)))


def _medians(calls: Sequence[Callable[[], Any]]) -> list[float]:
    """Return the median time of each call; they take turns, so that a busy moment falls on all of them."""
    taken: list[list[float]] = [[] for _ in calls]
    ends = time.perf_counter() + COST_SECONDS
    while len(taken[0]) < COST_REPEATS or (time.perf_counter() < ends and len(taken[0]) < COST_REPEATS**2):
        for times, call in zip(taken, calls, strict=True):
            started = time.perf_counter()
            call()
            times.append(time.perf_counter() - started)
    return [statistics.median(times) for times in taken]


def _peak(call: Callable[[], Any]) -> int | None:
    """Return the bytes that the process takes at most beside what it held, None where the system does not say."""
    gc.collect()
    give_back()
    try:
        _CLEAR.write_text("5")
        before = _field("VmRSS:")
        call()
        return max(_field("VmHWM:") - before, 0)
    except (OSError, ValueError, StopIteration):
        return None


def _field(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) << KILO
