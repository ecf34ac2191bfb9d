"""How far a whole check is from what its gradient costs at the least, one process per figure.

The least is the gradient traced, compiled and run once in each of the five ways (`five_ways`).
Beside it stand the peers: TensorFlow's own `compute_gradient`, and the checkers of PyTorch and JAX
where they are installed.  They answer for one way, eager, and have no bound.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.figure import HERE, Figure, checked

SMALL, REAL, LOOP, SECOND = 1.3, 2.5, 1.5, 2.0
ROUNDS = 3


@dataclass(frozen=True)
class Job:
    """One op at one size, the bound of its ratio, and the peers that are fast enough to be waited for."""

    op: str
    shapes: tuple[str, ...]
    bound: float
    peers: tuple[str, ...] = ()
    order: int = 1

    def __str__(self) -> str:
        order = "" if self.order == 1 else f", order {self.order}"
        return f"{self.op} {self.shapes[0]}{order}"

    @property
    def spec(self) -> str:
        """Return the spec of the check."""
        inputs = ", ".join(f"x{i}: {{shape: [{shape.replace('x', ', ')}]}}" for i, shape in enumerate(self.shapes))
        return f"{{module: ops.py, cases: {{c: {{op: {self.op}, order: {self.order}, inputs: {{{inputs}}}}}}}}}"

    def seconds_of(self, program: str, python: str, *words: str) -> float | None:
        """Return the seconds that a program of this folder prints for the op, None where it does not run."""
        command = [python, "-m", f"tests.benchmarks.{program}", *words, self.op, str(self.order), *self.shapes]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE.parents[1])
        return float(done.stdout.split()[-1]) if done.returncode == 0 else None


ALL = ("compute_gradient", "torch", "torch-fast", "jax")
FAST = ("torch-fast", "jax")
CELL, WIDE = ("4x4", "4x4"), ("768",)
JOBS = (
    Job("softplus", ("4x3",), SMALL, ALL),
    Job("attention", ("2x5x4",) * 3, SMALL, ALL),
    Job("layer_norm", ("4x8", "8", "8"), SMALL, ALL),
    Job("convolution", ("2x6x6x2", "3x3x2x2"), SMALL, ALL),
    Job("recurrence", ("6x3x4", *CELL), SMALL, ALL),
    Job("attention", ("2x8x128x64",) * 3, REAL, FAST),
    Job("layer_norm", ("64x768", *WIDE, *WIDE), REAL, FAST),
    Job("convolution", ("8x32x32x16", "3x3x16x16"), REAL, FAST),
    Job("recurrence", ("32x3x4", *CELL), LOOP, FAST),
    Job("scanned", ("32x3x4", *CELL), LOOP, FAST),
    Job("softplus", ("4x3",), SECOND, ("torch", "torch-fast", "jax"), order=2),
)


def near_the_limit(folder: Path, python: str = sys.executable) -> Iterator[Figure]:
    """Yield each job's check against its five ways, then against each peer."""
    for job in JOBS:
        rounds = [_round(folder, job) for _ in range(ROUNDS)]
        own, once = sorted(rounds, key=lambda pair: pair[0] / pair[1])[len(rounds) // 2]
        told = f"{own:.2f} s and {once:.2f} s"
        yield Figure(f"{job}: whole check / the five ways once", own / once, job.bound, True, told)
        for peer in job.peers:
            spent = job.seconds_of("peers", python, peer)
            if spent is not None:
                told = f"{statistics.median(pair[0] for pair in rounds):.2f} s and {spent:.3f} s in one way"
                yield Figure(f"{job}: whole check / {peer}", own / spent, None, True, told)


def _round(folder: Path, job: Job) -> tuple[float, float]:
    """Return the seconds of the check and those of the five ways, measured one after the other."""
    report = checked(folder, job.spec)
    once = job.seconds_of("five_ways", sys.executable)
    if once is None or report["status"] != "passed":
        raise SystemExit(f"{job}: {report['status']}, the five ways {'run' if once else 'do not run'}")
    return report["duration_s"], once
