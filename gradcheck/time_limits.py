# SPDX-License-Identifier: Apache-2.0
"""End Python code that runs longer than it may, where signals can be had."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


class OutOfTime(KeyboardInterrupt):
    """End the block of a time limit; code that catches every Exception does not catch it."""


def can_be_limited() -> bool:
    """Return whether time can be limited here: in the main thread, on a system that has timers."""
    return hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in the block after some seconds, where that can be; else let it run."""

    def end(number: int, frame: Any) -> None:
        raise OutOfTime

    if not can_be_limited():
        yield
        return
    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
