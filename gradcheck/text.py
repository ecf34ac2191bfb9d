# SPDX-License-Identifier: Apache-2.0
"""Text and places that come from outside: what is the user's, and what may be shown."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence

_HERE = os.path.dirname(os.path.abspath(__file__))
_INSTALLED = re.compile(r"[/\\](?:site|dist)-packages[/\\]([^/\\.]+)")
_STANDARD_LIBRARY = re.compile(r"[/\\]lib[/\\]python[\d.]*[/\\]", re.IGNORECASE)
# What runs between gradcheck and an op, or below it, and never is the op.
_FRAMEWORKS = {"tensorflow", "keras", "tf_keras", "numpy", "wrapt", "absl", "gast", "astunparse", "optree"}
# `File "x.py", line 3` in Python's own tracebacks and in those of faulthandler.
FRAME = re.compile(r'File "([^"]+)", line (\d+)')


def user_files(files: Sequence[str]) -> set[str]:
    """Return the files of a traceback, outermost first, in which the user's code is.

    These are the user's own files; where there are none, those of the installed package that was
    entered first, because the op is defined there.
    """
    outside = [file for file in files if not _is_internal(file)]
    own = {file for file in outside if _package(file) is None and not _STANDARD_LIBRARY.search(file)}
    if own:
        return own
    packages = [package for file in outside if (package := _package(file)) and package not in _FRAMEWORKS]
    return {file for file in outside if packages and _package(file) == packages[0]}


def innermost(frames: Sequence[tuple[str, int]]) -> tuple[str, int] | None:
    """Return the innermost line of the user's code among frames, outermost first, None if there is none."""
    files = user_files([file for file, _ in frames])
    return next(((file, line) for file, line in reversed(frames) if file in files), None)


def _is_internal(file: str) -> bool:
    return file.startswith(("<", _HERE + os.sep)) or "__autograph_generated" in file


def _package(file: str) -> str | None:
    """Return the top-level name of the installed package that a file belongs to."""
    names = _INSTALLED.findall(file)
    return names[-1] if names else None


# What a CI runner takes for a command: `::name` at the beginning of a line, `##[` and `##vso[` anywhere.
_COMMAND = re.compile(r"^([ \t]*):(?=:)|##(?=\[|vso\[)", re.MULTILINE)


def clean(text: str) -> str:
    """Return text that drives neither a terminal nor a CI runner, in its own lines."""
    plain = "".join(c if c == "\n" or c == "\t" or c.isprintable() else "?" for c in text)
    return _COMMAND.sub(lambda found: "# #" if found[1] is None else f"{found[1]}: ", plain)


def clean_line(text: str) -> str:
    """Return such text in one line."""
    return clean(text.replace("\r", "\\r").replace("\n", "\\n"))


def quoted(word: str) -> str:
    """Return a word as a shell takes it; what does not print is written in bash's and zsh's way."""
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + "".join(_escaped(c) for c in word) + "'"


def _escaped(character: str) -> str:
    if character in ("'", "\\"):
        return f"\\{character}"
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def shortened(text: str, limit: int) -> str:
    """Return text of at most about `limit` characters, its middle left out."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]} ... {len(text) - 2 * half} characters left out ... {text[-half:]}"
