# SPDX-License-Identifier: Apache-2.0
"""The op with other integers: indices that repeat, labels and switches that the sample does not hold.

Integers and masks that are given keep their numbers and change places: whatever they mean, they still mean it.
Where they are no order of places and are not sorted, some come twice and some not at all.
A mask that is the same everywhere hides that the gradient forgets it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gradcheck.measure.lab import Lab
from gradcheck.numerics.arrays import AnyArray, Arrays
from gradcheck.sites.held import last_half
from gradcheck.sites.site import SetUp
from gradcheck.verdict.tolerances import INTEGER_DRAWS, INTEGERS_TRIED, LITERALS_SHUFFLED, REPEATED_DRAWS, SHUFFLES

_KINDS = "iub"


def other_integers(lab: Lab) -> Iterator[SetUp]:
    """Yield set-ups with integers drawn anew, several times, then with only the least and the largest of them."""
    every = [i for i, value in enumerate(lab.values) if value.dtype.kind in _KINDS]
    draws = [leaves for number in range(INTEGER_DRAWS) if every and (leaves := lab.drawn_anew(number)) is not None]
    drawn = [i for i in every if any(not np.array_equal(leaves[i].values, lab.values[i]) for leaves in draws)]
    if drawn:
        for values in _drawn_anew(lab, draws, drawn):
            yield SetUp(_said_of_draws(lab, drawn), tuple(values), lab.gradients.state, resized=False)
    for i in every:
        for other in _other_places(lab, lab.values[i]) if i not in drawn else ():
            there = (*lab.values[:i], other, *lab.values[i + 1 :])
            said, repeats = _said(lab.leaves[i].name, lab.values[i], other)
            yield SetUp(said, there, lab.gradients.state, resized=False, repeats=repeats)


def _said_of_draws(lab: Lab, drawn: Sequence[int]) -> str:
    masks = {lab.values[i].dtype.kind == "b" for i in drawn}
    return "with another mask" if masks == {True} else "at other integers"


def _said(name: str, value: AnyArray, other: AnyArray) -> tuple[str, bool]:
    """Return the words for other integers, and whether some of them come twice."""
    if value.dtype.kind == "b":
        return f"with another mask `{name}`", False
    if np.array_equal(np.sort(value, axis=None), np.sort(other, axis=None)):
        return f"with `{name}` in another order", False
    if np.all(value == value.flat[0]):
        return f"with integers in `{name}` that differ", False
    return f"with integers in `{name}` that come twice", True


def _other_places(lab: Lab, value: AnyArray) -> Iterator[Any]:
    """Yield the same rows of integers in other places, and a mask turned over; what is sorted may have to be."""
    if not 1 < value.size <= LITERALS_SHUFFLED:
        return
    flat = value.ravel()
    if value.dtype.kind == "b":
        yield ~value if flat.any() and not flat.all() else value ^ last_half(value)
    elif np.all(flat == flat[0]) and flat[0] >= 0:
        yield _of_two_kinds(value)
    if np.all(flat[:-1] <= flat[1:]):
        return
    rng = lab.rng("places")
    others = [value[::-1].copy(), *(rng.permutation(value) for _ in range(SHUFFLES))]
    if value.dtype.kind != "b" and not _is_permutation(value):
        others += [_repeated(value, lab.rng("repeated", str(number))) for number in range(REPEATED_DRAWS)]
    for other in others:
        if not np.array_equal(other, value):
            yield other


def _of_two_kinds(value: AnyArray) -> AnyArray:
    """Return integers that are all the same with half of them less by one, or one for zero: in ascending order.

    Labels, indices, lengths and weights that are all the same hide that the gradient forgets them.
    """
    one_less, last = np.maximum(value, 1) - 1, last_half(value)
    return np.where(last, one_less + 1, one_less).astype(value.dtype)


def _is_permutation(value: AnyArray) -> bool:
    """Return whether integers are an order of places, in which none may come twice."""
    return value.ndim == 1 and np.array_equal(np.sort(value), np.arange(value.size))


def _repeated(value: AnyArray, rng: np.random.Generator) -> AnyArray:
    """Return rows of integers that are given, of which some come twice and some not at all."""
    order, half = rng.permutation(len(value)), len(value) // 2
    order[:half] = order[len(value) - half :]
    return np.asarray(value[order])


def _drawn_anew(lab: Lab, draws: Sequence[Any], drawn: Sequence[int]) -> Iterator[list[Any]]:
    seen = {_bytes_of(lab.values, drawn)}
    for leaves in draws:
        again = [leaves[i].values if i in drawn else value for i, value in enumerate(lab.values)]
        if len(seen) <= INTEGERS_TRIED and _bytes_of(again, drawn) not in seen:
            seen.add(_bytes_of(again, drawn))
            yield again
    rng = lab.rng("integers")
    lows = [rng.random(value.shape) < 1 / 2 for value in lab.values]
    for turned in (False, True):
        extremes = list(lab.values)
        for i in drawn:
            every = np.stack([lab.values[i], *(leaves[i].values for leaves in draws)])
            low, high = lab.leaves[i].whole_range or (every.min(), every.max())
            extremes[i] = np.where(lows[i] ^ turned, low, high).astype(lab.values[i].dtype)
        yield extremes


def _bytes_of(values: Arrays, chosen: Sequence[int]) -> bytes:
    return b"".join(np.asarray(values[i]).tobytes() for i in chosen)
