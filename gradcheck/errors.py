# SPDX-License-Identifier: Apache-2.0
"""Exceptions that carry an exit code of the command line."""

from __future__ import annotations

import os
from dataclasses import dataclass

from gradcheck.text import clean, clean_line, shortened

MAX_SOURCE = 160
# Characters of a problem's message, and problems, that are shown: a broken file may have thousands.
MAX_MESSAGE, MOST_SHOWN = 1000, 50


class GradcheckError(Exception):
    """Stop the run; `exit_code` says how the process ends."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class Problem:
    """Hold one mistake in a spec file and where it stands (line and column count from 1)."""

    file: str
    line: int
    column: int
    path: str
    message: str
    source: str = ""
    hint: str = ""

    def render(self) -> str:
        """Return the message with its place, the source line and a caret below the mistake."""
        where = f"{self.file}:{self.line}:{self.column}: "
        said = where + (f"{self.path}: " if self.path else "") + self.message + (f"; {self.hint}" if self.hint else "")
        lines = [shortened(clean_line(said), MAX_MESSAGE)]
        if self.source:
            margin = f"{self.line:>5} | "
            first = max(0, self.column - MAX_SOURCE // 2)
            lines.append(margin + self.source[first : first + MAX_SOURCE].replace("\t", " "))
            lines.append(" " * (len(margin) - 2) + "| " + " " * (self.column - 1 - first) + "^")
        return clean("\n".join(lines))


class SpecError(GradcheckError):
    """Report every problem of one or more spec files."""

    exit_code = 2

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        shown = [problem.render() for problem in problems[:MOST_SHOWN]]
        if len(problems) > MOST_SHOWN:
            shown.append(f"... and {len(problems) - MOST_SHOWN} more problems")
        super().__init__("\n".join(shown))
        self.problems = problems


class UsageError(GradcheckError):
    """Report a wrong option or path."""

    exit_code = 2


class NeedsInput(Exception):
    """Report that an op cannot be checked before more is said about its inputs; the message says what to write."""


class Terminated(KeyboardInterrupt):
    """End the run because the process was asked to (SIGTERM)."""


class NothingSelected(GradcheckError):
    """Report that no case is left after selection."""

    exit_code = 5


def one_line(error: BaseException) -> str:
    """Return an exception of gradcheck's own in one line, with the place that raised it."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f"{os.path.basename(place.tb_frame.f_code.co_filename)}:{place.tb_lineno}" if place else "?"
    return f"{type(error).__name__}: {error} ({where})"
