"""The op with other integers: indices that repeat, labels and switches that the sample does not hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gradcheck.measure.lab import Lab
from gradcheck.sites.site import SetUp
from gradcheck.verdict.tolerances import INTEGER_DRAWS, INTEGERS_TRIED

_KINDS = "iub"


def other_integers(lab: Lab) -> Iterator[SetUp]:
    """Yield set-ups with integers drawn anew, several times, then with only the least and the largest of them."""
    for values in _other_integers(lab):
        yield SetUp("at other integers", tuple(values), lab.gradients.state, resized=False)


def _other_integers(lab: Lab) -> Iterator[list[Any]]:
    if not any(value.dtype.kind in _KINDS for value in lab.values):
        return
    draws = [leaves for number in range(INTEGER_DRAWS) if (leaves := lab.drawn_anew(number)) is not None]
    found = [
        i
        for i, value in enumerate(lab.values)
        if value.dtype.kind in _KINDS and any(not np.array_equal(leaves[i].values, value) for leaves in draws)
    ]
    if not found:
        return
    seen = {_bytes_of(lab.values, found)}
    for leaves in draws:
        again = [leaves[i].values if i in found else value for i, value in enumerate(lab.values)]
        if len(seen) <= INTEGERS_TRIED and _bytes_of(again, found) not in seen:
            seen.add(_bytes_of(again, found))
            yield again
    rng, repeated = lab.rng("integers"), list(lab.values)
    for i in found:
        every = np.stack([lab.values[i], *(leaves[i].values for leaves in draws)])
        extreme = np.where(rng.random(repeated[i].shape) < 1 / 2, every.min(), every.max())
        repeated[i] = extreme.astype(lab.values[i].dtype)
    yield repeated


def _bytes_of(values: Sequence[Any], chosen: Sequence[int]) -> bytes:
    return b"".join(np.asarray(values[i]).tobytes() for i in chosen)
