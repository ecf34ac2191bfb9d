# SPDX-License-Identifier: Apache-2.0
"""The two consoles: results on standard output, progress on standard error."""

from __future__ import annotations

import os
import sys

from rich.console import Console

LEAST = 76


class _Console(Console):
    """Leave it to the caller what to do when nobody reads any more; rich would end the program."""

    def on_broken_pipe(self) -> None:
        raise


def make_consoles(color: str) -> tuple[Console, Console]:
    """Return the consoles for output and progress.

    `color` wins over NO_COLOR, which wins over FORCE_COLOR.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    return _console(color, stderr=False), _console(color, stderr=True)


def _console(color: str, stderr: bool) -> Console:
    width = None
    columns = os.environ.get("COLUMNS", "")
    stream = sys.stderr if stderr else sys.stdout
    if not stream.isatty():
        asked = int(columns) if columns.isascii() and columns.isdigit() and len(columns) < 6 else 80
        # Tables narrower than this show nothing of use.
        width = max(asked, LEAST)
    force = {"always": True, "never": False}.get(color)
    return _Console(
        stderr=stderr,
        width=width,
        force_terminal=True if force and not stderr else None,
        force_interactive=False if os.environ.get("CI") else None,
        no_color=False if color == "always" else None,
        # Without colours there is no bold or dim either.
        color_system=None if color == "never" else "auto",
        highlight=False,
        markup=False,
        emoji=False,
    )
