# SPDX-License-Identifier: Apache-2.0
"""Which calls of a custom gradient are kept: the first of each signature, and a fair draw of the later ones."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from gradcheck.text import shortened

# Signatures of one site whose calls are kept; a program that draws shapes at random has endless ones.
MOST_SIGNATURES = 8
LONGEST_TITLE = 60
# The most calls that pass between two callbacks: a draw over more of them takes longer than a callback.
LONGEST_PAUSE = 10_000
# More calls than a program makes.
NEVER = 2**62
_INSTALLED = ("site-packages", "dist-packages")


@dataclass(frozen=True, slots=True)
class Kept:
    """Hold one call: the function under tf.custom_gradient, its arguments, and what its closure held.

    `leaves` are the flat arguments with their values; `template` nests them; `captured` maps the
    identity of a tensor of a graph, which the function's closure holds, to its value.
    """

    function: Callable[..., Any]
    template: Any
    leaves: tuple[Any, ...]
    captured: dict[int, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Signature:
    """Count the calls of one signature and hold those that are kept; `words` describe its arguments."""

    words: str
    count: int = 0
    kept: list[Kept] = field(default_factory=list)

    def slot(self, samples: int, rng: random.Random) -> int | None:
        """Count one more call and return the place in `kept` that it takes, None if it is not kept.

        The first call stays; each later one has the same chance to be among the kept (reservoir sampling,
        Vitter's algorithm R).
        """
        self.count += 1
        return self._slot(self.count, samples, rng)

    def next_kept(self, samples: int, rng: random.Random) -> tuple[int, int | None]:
        """Return how many calls pass before the next that is kept, and its place; None if it is not drawn yet."""
        for passed in range(LONGEST_PAUSE):
            slot = self._slot(self.count + passed + 1, samples, rng)
            if slot is not None:
                return passed, slot
        return LONGEST_PAUSE, None

    @staticmethod
    def _slot(count: int, samples: int, rng: random.Random) -> int | None:
        if count <= samples:
            return count - 1
        if samples == 1:
            return None
        place = rng.randrange(count - 1)
        return place + 1 if place < samples - 1 else None

    def keep(self, slot: int, call: Kept) -> None:
        """Put a call in a place of `kept`."""
        if slot < len(self.kept):
            self.kept[slot] = call
        else:
            self.kept.append(call)


@dataclass(slots=True)
class Site:
    """Describe one custom gradient of the program, and the calls of it.

    `helpers` names the functions that its closure holds: with others it is another custom gradient.
    `module` and `op` say how it can be imported, if it can; `own` that it is part of TensorFlow or Keras;
    `reason` why no values of it could be kept.
    """

    number: int
    file: str
    line: int
    name: str
    kind: str
    how: str
    helpers: str = ""
    own: bool = False
    module: str | None = None
    op: str | None = None
    calls: int = 0
    signatures: dict[Hashable, Signature] = field(default_factory=dict)
    further: int = 0
    reason: str = ""

    @property
    def title(self) -> str:
        """Return the name in messages: with the functions that tell it from others made by the same wrapper."""
        return titled(self.name, self.helpers)

    @property
    def place(self) -> tuple[str, str, str]:
        """Return what tells a site from others however it was reached."""
        return self.file, self.name, self.helpers

    @property
    def checked_apart(self) -> bool:
        """Return whether the site is checked in a process of its own.

        One of an installed package is not: to import such a package again for each call takes longer than the checks.
        """
        return self.module is not None and not any(f"{os.sep}{place}{os.sep}" in self.file for place in _INSTALLED)

    def signature(self, key: Hashable, words: Callable[[], str]) -> Signature | None:
        """Return the signature of a call, None if there are too many already."""
        known = self.signatures.get(key)
        if known is None:
            if len(self.signatures) >= MOST_SIGNATURES:
                self.further += 1
                return None
            known = self.signatures[key] = Signature(words())
        return known


class Place:
    """Count the calls of a site at one place of a graph, most of which come in numbers only."""

    def __init__(self, site: Site, samples: int, rng: random.Random) -> None:
        self._site, self._samples, self._random = site, samples, rng
        self._last: Signature | None = None
        self._planned: tuple[int, int | None] = (0, None)

    def count(self, passed: int) -> None:
        """Count calls like the last one."""
        self._site.calls += passed
        if self._last is not None:
            self._last.count += passed

    def called(self, passed: int, key: Hashable, words: Callable[[], str]) -> tuple[Signature | None, int | None]:
        """Count `passed` calls and one whose values are here; return its signature and its place in `kept`."""
        self.count(passed)
        self._site.calls += 1
        before, (pause, slot) = self._last, self._planned
        signature = self._last = self._site.signature(key, words)
        if signature is None:
            return None, None
        if signature is before and passed == pause and slot is not None:
            signature.count += 1
            return signature, slot
        return signature, signature.slot(self._samples, self._random)

    def pause(self) -> int:
        """Return how many further calls of the same signature are not to be kept."""
        if self._last is None:
            return LONGEST_PAUSE
        self._planned = self._last.next_kept(self._samples, self._random)
        return self._planned[0]


def titled(name: str, helpers: str) -> str:
    """Return what a site is called: `f_wrapped of _betainc_fwd` where a wrapper makes gradients of functions."""
    if not helpers or "<locals>" not in name:
        return name
    return shortened(f"{name.rpartition('.')[2]} of {helpers}", LONGEST_TITLE)
