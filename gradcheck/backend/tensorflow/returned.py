# SPDX-License-Identifier: Apache-2.0
"""Which lines of a function of the user's ran last: which branch it took, and where it returned."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def lines_run(file: str, first: int, name: str, run: Callable[[], Any]) -> tuple[int, ...]:
    """Return the lines of a function that ran in its last call while `run` ran, the one that returns last.

    `file`, `first` and `name` are those of its code object.  Whoever traces this thread already (a debugger,
    a coverage tool) goes on afterwards.
    """
    found: list[int] = []

    def in_function(frame: FrameType, event: str, argument: Any) -> Any:
        found.append(frame.f_lineno)
        return in_function

    def at_call(frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        meant = code.co_name == name and code.co_firstlineno == first and code.co_filename == file
        if meant:
            found.clear()
        return in_function if meant else None

    before = sys.gettrace()
    sys.settrace(at_call)
    try:
        run()
    finally:
        sys.settrace(before)
    return tuple(found)
