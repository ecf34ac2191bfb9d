# SPDX-License-Identifier: Apache-2.0
"""A clock that stands still while this process is stopped."""

from __future__ import annotations

import time
from collections.abc import Callable

# The longest time between two readings that is counted. The executor reads the clock every 0.2 s; a
# longer silence means that this process did not run: Ctrl-Z, a suspended machine, a blocked fork server.
LONGEST_STEP_S = 1.0


class RunningClock:
    """Count the seconds in which this process ran, so that a pause uses up no case's time (issue 25).

    A case that hangs still meets its deadline: each reading counts up to `LONGEST_STEP_S`.
    """

    def __init__(self, read: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._last = read()
        self._counted = 0.0

    def now(self) -> float:
        """Return the seconds that this process has run since the clock was made."""
        here = self._read()
        self._counted += min(max(here - self._last, 0.0), LONGEST_STEP_S)
        self._last = here
        return self._counted
