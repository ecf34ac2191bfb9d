# SPDX-License-Identifier: Apache-2.0
"""Processes that end with the process that started them, also when that one is killed."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys

# The environment variable in which a process tells the fork server its number.
PARENT = "GRADCHECK_PARENT"
# Python's own, which keeps the current folder from where modules are looked for, and the value that we give it.
SAFE_PATH, OURS = "PYTHONSAFEPATH", "gradcheck"
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def die_with_parent() -> None:
    """Have the kernel end this process when its parent dies, where the kernel can."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of what this process's children leave behind, so that it can be found and ended."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
