# SPDX-License-Identifier: Apache-2.0
"""The processes of a case: how much memory they may use, how much they do use, and their end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

SHARE = 0.8
# TensorFlow itself maps about half of this.
LEAST = 2**30
# The environment variable by which what a case started is known, whoever its parent is now.
MARK = "GRADCHECK_CASE"
# A case that starts processes faster than they can be ended is given up.
ROUNDS, READINGS = 100, 2
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


def look(families: Iterable[Family]) -> None:
    """Note what each of the families has started.

    The system's table of processes is read once for all, which costs more than all else that is watched.
    """
    found = set[psutil.Process]()
    with contextlib.suppress(psutil.Error):
        found = set(psutil.Process().children(recursive=True))
    parents = {process.pid: _of(process, psutil.Process.ppid) for process in found}
    owners = {family.pid: family for family in families}
    for process in found:
        pid = parents[process.pid]
        while pid in parents and pid not in owners:
            pid = parents[pid]
        if pid in owners:
            owners[pid].children.add(process)


class Family:
    """Follow a process and all that it starts, also what leaves its group."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.root: psutil.Process | None = None
        self.children: set[psutil.Process] = set()
        with contextlib.suppress(psutil.Error):
            self.root = psutil.Process(pid)

    def held(self, limit: int) -> int:
        """Return the bytes of memory that all of them hold now; exact only above `limit`."""
        if self.root is None:
            return 0
        everyone = (self.root, *self.children)
        resident = sum(_of(process, lambda p: int(p.memory_info().rss)) for process in everyone)
        if resident <= limit or not self.children:
            return resident
        # What forked processes share must count once, which takes longer to find out.
        return sum(_of(process, _proportional) for process in everyone)

    def kill(self) -> None:
        """End the children; psutil sees to it that a reused process number is not hit.

        The root is stopped first.  A child may start another while it is being ended, so they are read
        again until two readings in a row show nobody new.
        """
        find = self._descendants if self._stopped() else self._left_behind
        known: set[psutil.Process] = set()
        found, unchanged = self.children, 0
        for _ in range(ROUNDS):
            for child in found:
                with contextlib.suppress(psutil.Error):
                    child.kill()
            known |= found
            found = find() - known
            unchanged = 0 if found else unchanged + 1
            if unchanged == READINGS:
                return

    def _stopped(self) -> bool:
        """Stop the root; say whether it lives."""
        try:
            if self.root is None or self.root.status() == psutil.STATUS_ZOMBIE:
                return False
            self.root.suspend()
        except psutil.Error:
            return False
        return True

    def _descendants(self) -> set[psutil.Process]:
        if self.root is not None:
            with contextlib.suppress(psutil.Error):
                return set(self.root.children(recursive=True))
        return set()

    def _left_behind(self) -> set[psutil.Process]:
        """Return what a root that died left to the system, known by its environment."""
        mark, everyone = str(self.pid), psutil.process_iter(["environ"])
        return {process for process in everyone if (process.info["environ"] or {}).get(MARK) == mark}
