"""A measured ratio, and the ways in which all parts of the benchmarks measure."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Figure:
    """Hold one measured ratio, the bound it has to keep, and how the two compare."""

    name: str
    value: float
    bound: float | None
    at_most: bool
    told: str

    @property
    def holds(self) -> bool:
        """Return whether the bound is kept, if there is one."""
        if self.bound is None:
            return True
        return self.value <= self.bound if self.at_most else self.value >= self.bound


def seconds(command: list[str], repeats: int = 1, **more) -> float:
    """Return the median wall time of a command."""
    spent = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run(command, check=False, capture_output=True, **more)
        spent.append(time.perf_counter() - started)
    return statistics.median(spent)


def tool(*args: str) -> list[str]:
    return [sys.executable, "-m", "gradcheck", *args]


def checked(folder: Path, spec: str) -> dict:
    """Return the report of the one case of a spec."""
    path = write(folder, spec)
    done = subprocess.run(tool("run", str(path), "--format", "json"), capture_output=True, text=True, check=False)
    return json.loads(done.stdout)["cases"][0]


def write(folder: Path, spec: str, name: str = "spec.yaml") -> Path:
    (folder / "ops.py").write_text((HERE / "ops.py").read_text())
    (folder / name).write_text(spec)
    return folder / name
