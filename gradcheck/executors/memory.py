"""How much memory a case may use, and how much it does use."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import psutil

SHARE = 0.8
# TensorFlow itself maps about half of this.
LEAST = 2**30
_CGROUP = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def default_limit(jobs: int) -> int:
    """Return the bytes one of `jobs` cases may use: its share of 80 % of the machine or container."""
    return max(LEAST, int(SHARE * _total() / jobs))


def _total() -> int:
    total = int(psutil.virtual_memory().total)
    for file in _CGROUP:
        with contextlib.suppress(OSError, ValueError):
            total = min(total, int(file.read_text()))
    return total


def _of(process: psutil.Process, measure: Callable[[psutil.Process], int]) -> int:
    try:
        return measure(process)
    except psutil.Error:
        return 0


def _proportional(process: psutil.Process) -> int:
    memory = process.memory_full_info()
    return int(getattr(memory, "pss", memory.uss))


class Family:
    """Follow a process and all that it starts, also what leaves its group."""

    def __init__(self, pid: int) -> None:
        self.root: psutil.Process | None = None
        self.children: set[psutil.Process] = set()
        with contextlib.suppress(psutil.Error):
            self.root = psutil.Process(pid)

    def held(self, limit: int) -> int:
        """Return the bytes of memory that all of them hold now; exact only above `limit`."""
        if self.root is None:
            return 0
        with contextlib.suppress(psutil.Error):
            self.children.update(self.root.children(recursive=True))
        everyone = (self.root, *self.children)
        resident = sum(_of(process, lambda p: int(p.memory_info().rss)) for process in everyone)
        if resident <= limit or not self.children:
            return resident
        # What forked processes share must count once, which takes longer to find out.
        return sum(_of(process, _proportional) for process in everyone)

    def kill(self) -> None:
        """End the children; psutil sees to it that a reused process number is not hit."""
        if self.root is not None:
            with contextlib.suppress(psutil.Error):
                self.children.update(self.root.children(recursive=True))
        for child in self.children:
            with contextlib.suppress(psutil.Error):
                child.kill()
