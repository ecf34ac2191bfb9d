# SPDX-License-Identifier: Apache-2.0
"""What a gradient leaves out as a whole: a line, the steps of a loop, all before a value that it holds fixed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.backend.tensorflow.dissection import Edge
from gradcheck.diagnose.changes import IGNORED_LINE, Change
from gradcheck.diagnose.matches import Match, Wanted
from gradcheck.measure.dissected import Draw
from gradcheck.numerics.arrays import Array

_HELD = Change(
    "stopped",
    "nothing comes back through the value of {op}",
    "carry the gradient on through the value of {op}: it is used in several places",
)
_BETWEEN = Change(
    "bypassed",
    "it ignores all that lies between {1} and {0}",
    "go back through all that lies between {1} and {0}: in a loop, through every step",
)


def ignored_lines(draws: tuple[Draw, Draw], wanted: Wanted) -> Iterator[Match]:
    """Yield lines whose ops are all ignored: the upstream of the last passes for that of the first."""
    lines: dict[tuple[str, int], list[int]] = {}
    for number, edge in enumerate(draws[0].edges):
        if edge.file:
            lines.setdefault((edge.file, edge.line), []).append(number)
    edges = draws[0].edges
    for i, line in ((number, numbers) for numbers in lines.values() for number in numbers):
        later = [j for j in line if edges[j].name != edges[i].name]
        for _, clean in _instead(draws, [i], later, wanted):
            yield Match(IGNORED_LINE, (edges[i],), clean)


def held_values(draws: tuple[Draw, Draw], wanted: Wanted) -> Iterator[Match]:
    """Yield values through which nothing comes back, of those that several ops take."""
    for numbers in _by_value(draws[0]):
        if len(numbers) < 2:
            continue
        clean = wanted.explained_by(-(d.edges[numbers[0]].spread @ _adjoint(d, numbers)) for d in draws)
        maker = _maker(draws[0], draws[0].edges[numbers[0]])
        if clean is not None and maker is not None:
            yield Match(_HELD, (maker,), clean)


def passed_over(draws: tuple[Draw, Draw], wanted: Wanted) -> Iterator[Match]:
    """Yield stretches of the forward that are ignored: what comes back to their end passes for that to their begin."""
    edges = draws[0].edges
    ends = {edge.name: number for number, edge in enumerate(edges)}
    for numbers in _by_value(draws[0]):
        first = edges[numbers[0]]
        later = [n for n in ends.values() if n not in numbers]
        for last, clean in _instead(draws, numbers, later, wanted):
            yield Match(_BETWEEN, (edges[last], first), clean)


def _by_value(draw: Draw) -> list[list[int]]:
    """Return the numbers of the edges that take each value; what a value depends on is one array for all of them."""
    found: dict[int, list[int]] = {}
    for number, edge in enumerate(draw.edges):
        found.setdefault(id(edge.spread), []).append(number)
    return list(found.values())


def _adjoint(draw: Draw, numbers: Sequence[int]) -> Array:
    """Return what comes back to a value from all ops that take it."""
    return np.asarray(sum(draw.edges[number].part.ravel() for number in numbers))


def _maker(draw: Draw, taker: Edge) -> Edge | None:
    """Return an edge of the op that gives what another takes, None for an input."""
    return next((edge for edge in draw.edges if edge.output is taker.value), None)


def _instead(
    draws: tuple[Draw, Draw], numbers: Sequence[int], later: Sequence[int], wanted: Wanted
) -> Iterator[tuple[int, bool]]:
    """Yield the later edges whose upstream, in the place of what comes back to a value, gives the gradient.

    With each whether that suits the other inputs too.
    """
    first = draws[0].edges[numbers[0]]
    later = [n for n in later if draws[0].edges[n].upstream.size == first.part.size]
    if not later:
        return
    upstreams = np.stack([draws[0].edges[n].upstream.ravel() for n in later], axis=1)
    with np.errstate(all="ignore"):
        deltas = first.spread[wanted.part] @ (upstreams - _adjoint(draws[0], numbers)[:, None])
    for last in (later[int(k)] for k in np.flatnonzero(wanted.own[0].closed_by(deltas.T))):
        clean = wanted.explained_by(
            d.edges[numbers[0]].spread @ (d.edges[last].upstream.ravel() - _adjoint(d, numbers)) for d in draws
        )
        if clean is not None:
            yield last, clean
