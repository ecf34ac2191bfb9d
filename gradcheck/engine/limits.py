"""What a case may use, and what it is to bring back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Give what a case may use and is to bring back.

    `show` is the number of worst elements per finding, `profiles` asks for every element,
    `save` is the folder that takes the numbers of failed cases.
    """

    threads: int = 1
    show: int = 10
    profiles: bool = False
    save: str | None = None
