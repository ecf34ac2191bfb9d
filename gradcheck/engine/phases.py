# SPDX-License-Identifier: Apache-2.0
"""How long each phase of a case takes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

# The last phase, in which edits of the user's code are tried: what ends there takes nothing along.
MENDS = "mends"


@dataclass(slots=True)
class Phases:
    """Account seconds by phase; a phase that is entered again is one with its first time."""

    current: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    _entered: float = 0.0

    def enter(self, phase: str) -> None:
        """End the current phase and begin another."""
        self.leave()
        self.current, self._entered = phase, time.monotonic()

    def leave(self) -> None:
        """End the current phase, if there is one."""
        if self.current:
            spent = time.monotonic() - self._entered
            self.seconds[self.current] = self.seconds.get(self.current, 0.0) + spent
        self.current = ""
