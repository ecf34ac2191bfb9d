"""How far a whole check is from what its gradient costs at the least, one process per figure.

The least is the gradient traced, compiled and run once in each of the five ways (`five_ways`).
Beside it stand the peers: TensorFlow's own `compute_gradient`, and the checkers of PyTorch and JAX
where they are installed.  They answer for one way, eager, and have no bound.
"""

from __future__ import annotations

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
    """One op with the shapes of its inputs, the bound of its ratio, and the peers that are fast enough to wait for."""

    op: str
    inputs: str
    bound: float
    peers: tuple[str, ...] = ()
    order: int = 1

    def __str__(self) -> str:
        order = "" if self.order == 1 else f", order {self.order}"
        return f"{self.op} {self.shapes[0]}{order}"

    @property
    def shapes(self) -> list[str]:
        """Return the shapes of the inputs, as 4x3."""
        return [named.partition("=")[2] for named in self.inputs.split()]

    @property
    def spec(self) -> str:
        """Return the spec of the check."""
        pairs = (named.split("=") for named in self.inputs.split())
        inputs = ", ".join(f"{name}: {{shape: [{shape.replace('x', ', ')}]}}" for name, shape in pairs)
        return f"{{module: ops.py, cases: {{c: {{op: {self.op}, order: {self.order}, inputs: {{{inputs}}}}}}}}}"

    def seconds_of(self, program: str, python: str, *words: str) -> float | None:
        """Return the seconds that a program of this folder prints for the op, None where it does not run."""
        command = [python, "-m", f"tests.benchmarks.{program}", *words, self.op, str(self.order), *self.shapes]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE.parents[1])
        return float(done.stdout.split()[-1]) if done.returncode == 0 else None


TENSORFLOW = "compute_gradient"
ALL = (TENSORFLOW, "torch", "torch-fast", "jax")
FAST = ("torch-fast", "jax")
SIX, LONG = "xs=6x3x4 kernel=4x4 recurrent=4x4", "xs=32x3x4 kernel=4x4 recurrent=4x4"
JOBS = (
    Job("softplus", "x=4x3", SMALL, ALL),
    Job("attention", "query=2x5x4 key=2x5x4 value=2x5x4", SMALL, ALL),
    Job("layer_norm", "x=4x8 gain=8 offset=8", SMALL, ALL),
    Job("convolution", "x=2x6x6x2 kernel=3x3x2x2", SMALL, ALL),
    Job("recurrence", SIX, SMALL, ALL),
    Job("attention", "query=2x8x128x64 key=2x8x128x64 value=2x8x128x64", REAL, FAST),
    Job("layer_norm", "x=64x768 gain=768 offset=768", REAL, FAST),
    Job("convolution", "x=8x32x32x16 kernel=3x3x16x16", REAL, FAST),
    Job("recurrence", LONG, LOOP, FAST),
    Job("scanned", LONG, LOOP, FAST),
    Job("softplus", "x=4x3", SECOND, ("torch", "torch-fast", "jax"), order=2),
)


def near_the_limit(folder: Path, python: str = sys.executable) -> Iterator[Figure]:
    """Yield each job's check against its five ways, then against each peer."""
    for job in JOBS:
        rounds = [_round(folder, job) for _ in range(ROUNDS)]
        own, once = sorted(rounds, key=lambda pair: pair[0] / pair[1])[len(rounds) // 2]
        told = f"{own:.2f} s and {once:.2f} s"
        yield Figure(f"{job}: whole check / the five ways once", own / once, job.bound, True, told)
        for peer in job.peers:
            spent = job.seconds_of("peers", sys.executable if peer == TENSORFLOW else python, peer)
            if spent is not None:
                told = f"{own:.2f} s and {spent:.3f} s in one way"
                yield Figure(f"{job}: whole check / {peer}", own / spent, None, True, told)


def _round(folder: Path, job: Job) -> tuple[float, float]:
    """Return the seconds of the check and those of the five ways, measured one after the other."""
    report = checked(folder, job.spec)
    once = job.seconds_of("five_ways", sys.executable)
    if once is None or report["status"] != "passed":
        found = [finding["message"] for finding in report["findings"]]
        raise SystemExit(f"{job}: {report['status']} {found}, the five ways {'run' if once else 'do not run'}")
    return report["duration_s"], once
