"""How much memory a case may use, and how much it does use."""

from __future__ import annotations

import contextlib
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


class Family:
    """Follow a process and all that it starts, also what leaves its group."""

    def __init__(self, pid: int) -> None:
        self.root: psutil.Process | None = None
        self.children: set[psutil.Process] = set()
        with contextlib.suppress(psutil.Error):
            self.root = psutil.Process(pid)

    def resident(self) -> int:
        """Return the bytes of memory that all of them hold now."""
        total = 0
        if self.root is None:
            return 0
        with contextlib.suppress(psutil.Error):
            self.children.update(self.root.children(recursive=True))
            total = int(self.root.memory_info().rss)
        for child in self.children:
            with contextlib.suppress(psutil.Error):
                total += int(child.memory_info().rss)
        return total

    def kill(self) -> None:
        """End the children; psutil sees to it that a reused process number is not hit."""
        if self.root is not None:
            with contextlib.suppress(psutil.Error):
                self.children.update(self.root.children(recursive=True))
        for child in self.children:
            with contextlib.suppress(psutil.Error):
                child.kill()
