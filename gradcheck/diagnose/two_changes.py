# SPDX-License-Identifier: Apache-2.0
"""Two changed rules of the forward that explain a gradient together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np

from gradcheck.backend.tensorflow.dissection import Edge
from gradcheck.diagnose.changes import Change, changes_of
from gradcheck.diagnose.matches import Match, Wanted, delta_with
from gradcheck.measure.dissected import Draw
from gradcheck.numerics.arrays import Array
from gradcheck.verdict.tolerances import CHANGED_PAIRS, LEAST_INNER_FACTOR, LONG_ENOUGH

_IN_PAIRS = ("stopped", "bypassed", "mask", "sign-flip")


@dataclass(frozen=True, slots=True)
class _Simple:
    """Hold a change that may be one of two, and what it does to the gradient at both points."""

    edge: int
    change: Change
    deltas: tuple[Array, ...]


def pairs(draws: tuple[Draw, Draw], wanted: Wanted) -> Iterator[Match]:
    """Yield the first two simple changes that explain the gradient together."""
    for a, b in _near_pairs(list(_simple(draws)), wanted):
        one, other = (draws[0].edges[simple.edge] for simple in (a, b))
        # What a change does depends on the other where the gradient comes through both.
        if a.edge == b.edge or _depend(one, other):
            continue
        clean = wanted.explained_by(x + y for x, y in zip(a.deltas, b.deltas, strict=True))
        if clean is not None:
            words = f"{_of(a.change.words, 0)}, and {_of(b.change.words, 1)}"
            hint = f"{_of(a.change.hint, 0)}; {_of(b.change.hint, 1)}"
            yield Match(Change(a.change.cause, words, hint), (one, other), clean, two=True)
            return


def _near_pairs(simple: Sequence[_Simple], wanted: Wanted) -> Iterator[tuple[_Simple, _Simple]]:
    """Yield the pairs of changes that give the gradient at the first point, all second ones of a first at once."""
    if len(simple) < 2:
        return
    first = np.stack([change.deltas[0][wanted.part] for change in simple])
    for i, delta in enumerate(first[:-1]):
        for j in np.flatnonzero(wanted.own[0].closed_by(delta + first[i + 1 :])):
            yield simple[i], simple[i + 1 + int(j)]


def _simple(draws: tuple[Draw, Draw]) -> Iterator[_Simple]:
    found = (
        _Simple(i, change, tuple(delta for draw in draws if (delta := delta_with(draw.edges[i], changed)) is not None))
        for i, edge in enumerate(draws[0].edges)
        for change, changed in changes_of(edge)
        if change.cause in _IN_PAIRS
    )
    yield from islice((simple for simple in found if len(simple.deltas) == len(draws)), CHANGED_PAIRS)


def _of(text: str, number: int) -> str:
    """Return what is said of one op as what is said of the first or second of two."""
    return text.replace("{at}", f"{{at[{number}]}}").replace("{op}", f"{{{number}}}")


def two_factors(draws: tuple[Draw, Draw], wanted: Wanted) -> Iterator[Match]:
    """Yield the first two rules whose parts have each another factor, the same at both points.

    The factors are those that fit the first point best (least squares); the second has to confirm them.
    """
    through = [[edge.spread @ edge.part.ravel() for edge in draw.edges] for draw in draws]
    first = np.array([part[wanted.part] for part in through[0]])
    if first.shape[-1] < LONG_ENOUGH:
        return
    for i, j in combinations(range(min(len(first), CHANGED_PAIRS)), 2):
        one, other = draws[0].edges[i], draws[0].edges[j]
        factors = _fitted(first[i], first[j], wanted.own[0].gap)
        if factors is None or _depend(one, other):
            continue
        a, b = factors
        if not wanted.own[0].is_closed_by(a * first[i] + b * first[j]):
            continue
        clean = wanted.explained_by(a * parts[i] + b * parts[j] for parts in through)
        if clean is not None:
            words = f"{_with_factor('{0}', 1 + a)}, and {_with_factor('{1}', 1 + b)}"
            hint = "correct the factors of the two parts: look at how they are added up"
            yield Match(Change("inner-factor", words, hint), (one, other), clean, two=True)
            return


def _fitted(one: Array, other: Array, gap: Array) -> tuple[float, float] | None:
    """Return the numbers by which two vectors add up best to a third, None where one is no matter or both are one."""
    sizes, mixed = (float(one @ one), float(other @ other)), float(one @ other)
    determinant = sizes[0] * sizes[1] - mixed * mixed
    if not determinant > LEAST_INNER_FACTOR * sizes[0] * sizes[1]:
        return None
    ahead, behind = float(one @ gap), float(other @ gap)
    a = (sizes[1] * ahead - mixed * behind) / determinant
    b = (sizes[0] * behind - mixed * ahead) / determinant
    return (a, b) if min(abs(a), abs(b)) > LEAST_INNER_FACTOR else None


def _with_factor(op: str, factor: float) -> str:
    if abs(factor) < LEAST_INNER_FACTOR:
        return f"nothing comes through {op}"
    return f"what comes through {op} has the factor {factor:.4g}"


def _depend(one: Edge, other: Edge) -> bool:
    """Return whether the gradient comes through both: what a change does depends on the other then."""
    return one.name in other.before or other.name in one.before
