# SPDX-License-Identifier: Apache-2.0
"""The op with whole numbers and truth values that turn a condition of its graph: switches, counters, levels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations, islice
from typing import Any

import numpy as np

from gradcheck.backend.tensorflow.conditions import Key, Sides
from gradcheck.backend.tensorflow.operation import State
from gradcheck.measure.lab import Lab
from gradcheck.measure.own_points import own_point
from gradcheck.measure.steering import Steering, written_numbers_of
from gradcheck.numerics.arrays import AnyArray, Array
from gradcheck.sites.held import last_half
from gradcheck.sites.redraws import redraws_and_grid
from gradcheck.sites.site import SetUp
from gradcheck.verdict.tolerances import SWITCH_DRAWS, SWITCH_LOOKS, SWITCHES_TRIED

_WHOLE = "iu"
# A condition, and whether it holds.
Side = tuple[Key, bool]


def switches(lab: Lab) -> Iterator[SetUp]:
    """Yield set-ups in which a condition is on a side on which it is not at the sample."""
    yield from (there for there, _ in turned(lab))


def turned(lab: Lab) -> Iterator[tuple[SetUp, set[Side]]]:
    """Yield such set-ups with the sides that are new there."""
    candidates = list(_candidates(lab))
    steering = lab.steering if candidates else None
    if steering is not None:
        yield from islice(_turning(lab, steering, candidates), SWITCHES_TRIED)


def _turning(lab: Lab, steering: Steering, candidates: list[SetUp]) -> Iterator[tuple[SetUp, set[Side]]]:
    """Yield what turns a condition: one switch, then one with other values of the inputs, then two at once."""
    known = _sides(steering.sides_of(lab.values))
    yield from _new(lab, steering, candidates, known)
    draws = _draws(lab) if _missing(known) else []
    with_draws = (_at_values(lab, there, x) for there in candidates for x in draws)
    yield from _new(lab, steering, islice(with_draws, SWITCH_LOOKS), known)
    yield from _new(lab, steering, islice(_pairs(lab, candidates), SWITCH_LOOKS), known)


def _new(
    lab: Lab, steering: Steering, candidates: Iterable[SetUp], known: set[Side]
) -> Iterator[tuple[SetUp, set[Side]]]:
    """Yield the set-ups with sides that are not known, which are known then."""
    for there in candidates:
        if not _missing(known):
            return
        there.state.restore()
        new = _sides(steering.sides_of(there.values)) - known
        lab.gradients.state.restore()
        if new:
            known |= new
            yield there, new


def _missing(known: set[Side]) -> bool:
    """Return whether a condition was seen on one side only."""
    return any((key, not side) not in known for key, side in known)


def _draws(lab: Lab) -> list[Array]:
    """Return the last of the ordinary points, which spread a grid over the inputs."""
    return [site.x for site in redraws_and_grid(lab)][-SWITCH_DRAWS:]


def _at_values(lab: Lab, there: SetUp, x: Array) -> SetUp:
    """Return a set-up with the floating inputs of a point."""
    values = own_point(lab, x)
    values = [values[i] if i in lab.sources else value for i, value in enumerate(there.values)]
    return replace(there, values=tuple(values), said=f"{there.said} and other values of the inputs")


def _pairs(lab: Lab, candidates: Sequence[SetUp]) -> Iterator[SetUp]:
    """Yield two switches of inputs set at once, the truth values before the numbers."""
    moved = [(i, there) for there in candidates for i in _moved(lab, there)]
    ranked = sorted(moved, key=lambda pair: pair[1].values[pair[0]].dtype.kind != "b")
    for (i, one), (j, other) in combinations(ranked, 2):
        if i != j:
            values = list(one.values)
            values[j] = other.values[j]
            said = f"{one.said} and {other.said.removeprefix('with ')}"
            yield replace(one, values=tuple(values), said=said)


def _moved(lab: Lab, there: SetUp) -> list[int]:
    """Return the place of the input that a set-up changes, none where it changes a variable."""
    pairs = enumerate(zip(there.values, lab.values, strict=True))
    return [i for i, (new, own) in pairs if new is not own]


def _sides(found: dict[Key, Sides] | None) -> set[Side]:
    return {(key, side) for key, sides in (found or {}).items() for side in (True, False) if sides.on(side)}


def _candidates(lab: Lab) -> Iterator[SetUp]:
    """Yield set-ups with single numbers and truth values of inputs, then with those of variables."""
    state = lab.gradients.state
    for i, value in enumerate(lab.values):
        for other in _others(lab, value, drawn=lab.leaves[i].whole_range):
            values = [*lab.values[:i], other, *lab.values[i + 1 :]]
            yield SetUp(f"with {lab.leaves[i].name} = {_said(other)}", tuple(values), state, resized=False)
    for i, (variable, value) in enumerate(zip(state.variables, state.values, strict=True)):
        if variable.ref() not in lab.movable:
            continue
        for other in _others(lab, value, (-1, np.iinfo(value.dtype).max) if value.dtype.kind in _WHOLE else None):
            moved = State(state.variables, (*state.values[:i], other, *state.values[i + 1 :]))
            name = str(variable.name).split(":")[0]
            yield SetUp(f"with variable `{name}` = {_said(other)}", tuple(lab.values), moved, resized=False)


def _others(lab: Lab, value: AnyArray, drawn: tuple[int, int] | None) -> Iterator[Any]:
    """Return other values: of many numbers whose range nobody declares only half are other ones."""
    value = np.asarray(value)
    if value.dtype.kind == "b":
        for truth in (True, False):
            if not np.all(value == truth):
                yield np.full_like(value, truth)
    if value.dtype.kind not in _WHOLE:
        return
    divisors = lab.steering.whole_floats if lab.steering is not None else ()
    beside = {number + step for number in (0, 1, *written_numbers_of(lab), *divisors) for step in (-1, 0, 1)}
    low, high = drawn if drawn else (-1, np.iinfo(value.dtype).max)
    for number in sorted(beside):
        if low <= number <= high and not np.all(value == number):
            # Many numbers that are given may mean many things: some of them keep what they mean.
            given = value.size > 1 and drawn is None
            other = np.where(last_half(value), number, value) if given else np.full_like(value, number)
            yield other.astype(value.dtype)


def _said(value: AnyArray) -> str:
    return str(np.asarray(value).ravel()[0])
