# SPDX-License-Identifier: Apache-2.0
"""End the copies of this process that an op makes with os.fork and that come back from its call."""

from __future__ import annotations

import contextlib
import os


class Copies:
    """Know this process from a copy of it, and how many copies came back from the op.

    A copy would go on with the check as this process does, and make copies of its own.
    """

    def __init__(self) -> None:
        self._process, self._pipe = os.getpid(), os.pipe()
        for end in self._pipe:
            os.set_blocking(end, False)

    def end_if_copy(self) -> None:
        """End the process if it is a copy; nothing of it is run any more."""
        if os.getpid() != self._process:
            with contextlib.suppress(OSError):
                os.write(self._pipe[1], b".")
            os._exit(0)

    def came_back(self) -> int:
        """Return how many copies came back from the op since the last question."""
        try:
            return len(os.read(self._pipe[0], 4096))
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """Give the pipe back."""
        for end in self._pipe:
            os.close(end)
