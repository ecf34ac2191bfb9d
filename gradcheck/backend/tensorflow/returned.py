# SPDX-License-Identifier: Apache-2.0
"""On which line a function of the user's returned when it ran last."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def last_return(file: str, first: int, name: str, run: Callable[[], Any]) -> int:
    """Return the line on which a function returned last while `run` ran, 0 if it did not run.

    `file`, `first` and `name` are those of its code object.  Whoever traces this thread already (a debugger,
    a coverage tool) goes on afterwards.
    """
    found = [0]

    def in_function(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "return":
            found[0] = frame.f_lineno
        return in_function

    def at_call(frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        meant = code.co_name == name and code.co_firstlineno == first and code.co_filename == file
        return in_function if meant else None

    before = sys.gettrace()
    sys.settrace(at_call)
    try:
        run()
    finally:
        sys.settrace(before)
    return found[0]
