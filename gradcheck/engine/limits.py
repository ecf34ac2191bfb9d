# SPDX-License-Identifier: Apache-2.0
"""What a case may use, and what it is to bring back."""

from __future__ import annotations

from dataclasses import dataclass

# An exploring check takes up to twice as long as all before it (measured on an op that takes 0.1 s a call).
# It begins in the first third of a case's time, so that it ends and the case is judged by what was compared.
EXPLORING_BEGINS = 1 / 3


@dataclass(frozen=True, slots=True)
class Limits:
    """Give what a case may use and is to bring back.

    `show` is the number of worst elements per finding, `profiles` asks for every element,
    `save` is the folder that takes the numbers of failed cases, `seconds` is the time that a case
    has, None for as long as it takes.  `mends` allows edits of the user's code to be tried: only in a process of
    the case's own, which they may end.
    """

    threads: int = 1
    show: int = 10
    profiles: bool = False
    save: str | None = None
    seconds: float | None = None
    mends: bool = False

    def has_time_for_more(self, spent: float, done: float) -> bool:
        """Return whether a case explores further `spent` seconds after its start.

        `done` is the fraction of its dtypes and samples whose gradients were compared by then; the
        rest of the time is theirs first.
        """
        return self.seconds is None or spent <= EXPLORING_BEGINS * done * self.seconds
