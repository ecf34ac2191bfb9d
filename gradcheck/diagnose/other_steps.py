# SPDX-License-Identifier: Apache-2.0
"""Rules of a loop's line that see, at every step, another value of the loop: the state after the step for that before.

What `other_operands` tries for one op is tried here for all ops that a line made, step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.diagnose.changes import delta_of, summed_to
from gradcheck.diagnose.other_operands import Seen, rules_of
from gradcheck.measure.dissected import Draw
from gradcheck.numerics.arrays import Array
from gradcheck.verdict.tolerances import BLOCKS, OTHER_OPERANDS

if TYPE_CHECKING:
    from gradcheck.backend.tensorflow.dissection import Edge


@dataclass(frozen=True, slots=True)
class OtherSteps:
    """Say that the rule of some edges (by number) sees a value of each step in the place of `own`."""

    edges: tuple[int, ...]
    own: str
    seen: tuple[Seen, ...]
    shape: tuple[int, ...]
    rule: Callable[[Edge, Array], Array | None]

    def delta(self, draw: Draw) -> Array | None:
        """Return by how much the gradient of the sources changes, None where a rule does not take such a value."""
        total: Array | None = None
        for number, seen in zip(self.edges, self.seen, strict=True):
            edge = draw.edges[number]
            found = self._part(edge, seen.at(draw))
            delta = delta_of(edge, None if found is None else summed_to(found, edge.part.shape))
            if delta is None:
                return None
            total = delta if total is None else total + delta
        return total

    def _part(self, edge: Edge, value: Array) -> Array | None:
        """Return what the rule of an edge gives with another value, None where a step has other shapes."""
        with np.errstate(all="ignore"):
            try:
                return self.rule(edge, value.reshape(self.shape))
            except ValueError:
                return None


def other_steps(draws: Sequence[Draw]) -> Iterator[OtherSteps]:
    """Yield what the rules of a line may see step by step, as many as are tried."""
    edges = draws[0].edges
    lines = [part for numbers in _lines(edges).values() for part in _in_turn(numbers) if len(part) > 1]
    series = [(given, numbers) for numbers in lines for given in (True, False)]
    found = (
        OtherSteps(chosen, own, tuple(Seen(number, given) for number in others), shape, rule)
        for line in lines
        for own, shape, rule in rules_of(edges[line[0]])
        for given, numbers in series
        for chosen, others in _aligned(line, numbers)
        if all(_alike(Seen(number, given).at(draws[0]).shape, shape) for number in others)
    )
    return islice(found, OTHER_OPERANDS // max(map(len, lines), default=1))


def _alike(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Return whether two shapes are one but for axes of size one: of vectors products make matrices."""
    return [n for n in shape if n > 1] == [n for n in other if n > 1]


def _lines(edges: Sequence[Edge]) -> dict[tuple[str, str, int, int], list[int]]:
    """Return the numbers of the edges that one use of an op on a line made, in the order in which they ran."""
    lines: dict[tuple[str, str, int, int], list[int]] = {}
    for number, edge in enumerate(edges):
        if edge.file:
            lines.setdefault((edge.op, edge.file, edge.line, edge.position), []).append(number)
    return lines


def _in_turn(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield the ops of a line, and every second, third or fourth: a line may use an op several times a step."""
    yield numbers
    for uses in (count for count in BLOCKS if len(numbers) % count == 0):
        yield from (numbers[first::uses] for first in range(uses))


def _aligned(line: Sequence[int], others: Sequence[int]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield steps with what each sees: of the same step, the next, the one before; of all, of all but first or last."""
    steps = min(len(line), len(others))
    shifted = ((line, others), (line, others[1:]), (line[1:], others), (line[-steps:], others[-steps:]))
    pairs = [list(zip(these, those, strict=False)) for these, those in shifted]
    known: set[tuple[tuple[int, int], ...]] = set()
    for chosen in (part for pair in pairs for part in (pair, pair[1:], pair[:-1])):
        if len(chosen) > 1 and tuple(chosen) not in known:
            known.add(tuple(chosen))
            yield tuple(a for a, _ in chosen), tuple(b for _, b in chosen)
