"""Text and places that come from outside: what is the user's, and what may be shown."""

from __future__ import annotations

import os
import re

_HERE = os.path.dirname(os.path.abspath(__file__))
_LIBRARIES = ("site-packages", "dist-packages", f"{os.sep}lib{os.sep}python")
# `File "x.py", line 3` in Python's own tracebacks and in those of faulthandler.
FRAME = re.compile(r'File "([^"]+)", line (\d+)')


def is_user_file(file: str) -> bool:
    """Return whether a file of a traceback is the user's own, and no library's or gradcheck's."""
    if file.startswith(("<", _HERE + os.sep)) or "__autograph_generated" in file:
        return False
    return not any(part in file for part in _LIBRARIES)


def clean(text: str) -> str:
    """Return text without control characters, so that names cannot drive a terminal."""
    return "".join(c if c == "\n" or c == "\t" or c.isprintable() else "?" for c in text)


def shortened(text: str, limit: int) -> str:
    """Return text of at most about `limit` characters, its middle left out."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]} ... {len(text) - 2 * half} characters left out ... {text[-half:]}"
