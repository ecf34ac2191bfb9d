# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C, SIGTERM and SIGHUP: the first ends the run, those that follow in haste do not cost the reports."""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import dataclass
from types import FrameType

from gradcheck.errors import Terminated

HASTE_S = 2.0


@dataclass(slots=True)
class _Signals:
    """Raise on the first signal; hear none for the two seconds in which a run winds up."""

    deaf_until: float = 0.0

    def hear(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now < self.deaf_until:
            return
        self.deaf_until = now + HASTE_S
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated


_SIGNALS = _Signals()


def listen() -> None:
    """Turn SIGINT into KeyboardInterrupt, SIGTERM and SIGHUP into Terminated; what is ignored (nohup) stays so."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _SIGNALS.hear)
        for number in (signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGTERM)):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _SIGNALS.hear)


def hold() -> None:
    """Hear no signal for a while: the run is over, and what it found is being written."""
    _SIGNALS.deaf_until = time.monotonic() + HASTE_S
