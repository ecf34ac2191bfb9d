"""The op with whole numbers and truth values that turn a condition of its graph: switches, counters, levels."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from gradcheck.backend.tensorflow.conditions import Key, Sides
from gradcheck.backend.tensorflow.operation import State
from gradcheck.measure.lab import Lab
from gradcheck.measure.steering import Steering
from gradcheck.sites.site import SetUp
from gradcheck.verdict.tolerances import SWITCHES_TRIED

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
    known = _sides(steering.sides_of(lab.values))
    for there in candidates:
        there.state.restore()
        new = _sides(steering.sides_of(there.values)) - known
        lab.gradients.state.restore()
        if new:
            known |= new
            yield there, new


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


def _others(lab: Lab, value: Any, drawn: tuple[int, int] | None) -> Iterator[Any]:
    """Return other values: of many numbers only where their range is declared."""
    value = np.asarray(value)
    if value.dtype.kind == "b":
        for truth in (True, False):
            if not np.all(value == truth):
                yield np.full_like(value, truth)
    if value.dtype.kind not in _WHOLE or (value.size > 1 and drawn is None):
        return
    beside = {number + step for number in (0, 1, *lab.written_numbers) for step in (-1, 0, 1)}
    low, high = drawn if drawn else (-1, np.iinfo(value.dtype).max)
    for number in sorted(beside):
        if low <= number <= high and not np.all(value == number):
            yield np.full_like(value, number)


def _said(value: Any) -> str:
    return str(np.asarray(value).ravel()[0])
