# SPDX-License-Identifier: Apache-2.0
"""The op with other numbers for the inputs that are not differentiated: temperatures, scales, weights.

A number such as 1 or 0 hides that the gradient forgets it. A declared `domain` says which others may come; where there
is none, all ones or all zeros may become some of both: as weights, targets and masks they still mean something.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gradcheck.backend.tensorflow.inputs import Leaf
from gradcheck.measure.lab import Lab
from gradcheck.numerics.arrays import AnyArray
from gradcheck.sites.site import SetUp
from gradcheck.verdict.tolerances import HELD_DRAWS


def other_held(lab: Lab) -> Iterator[SetUp]:
    """Yield set-ups with other numbers for one input that is not differentiated."""
    rng = lab.rng("held")
    for i, leaf in enumerate(lab.leaves):
        if not leaf.floating or leaf.differentiated or lab.values[i].dtype.kind == "c":
            continue
        for other in _others(rng, leaf, lab.values[i]):
            there = (*lab.values[:i], other, *lab.values[i + 1 :])
            yield SetUp(f"at other numbers of `{leaf.name}`", there, lab.gradients.state, resized=False)


def last_half(value: AnyArray) -> NDArray[np.bool_]:
    """Return a mask of the last half of each row, as padding has it."""
    axis = int(np.argmax(np.array(value.shape[::-1]) > 1)) + 1
    last = np.arange(value.shape[-axis]) >= value.shape[-axis] // 2
    return np.broadcast_to(last.reshape((-1, *(1,) * (axis - 1))), value.shape)


def _others(rng: np.random.Generator, leaf: Leaf, value: AnyArray) -> Iterator[AnyArray]:
    if leaf.domain is not None:
        for _ in range(HELD_DRAWS):
            yield _drawn(rng, leaf.domain, value)
    elif value.size > 1 and (np.all(value == 1) or np.all(value == 0)):
        yield np.where(last_half(value), 1 - value, value).astype(value.dtype)


def _drawn(rng: np.random.Generator, domain: tuple[float, float], value: AnyArray) -> AnyArray:
    """Return numbers of the domain, near the given ones where it has no end."""
    wide = value.astype(float)
    reach = 1.0 + np.abs(wide)
    low = np.where(np.isfinite(domain[0]), domain[0], wide - reach)
    high = np.where(np.isfinite(domain[1]), domain[1], wide + reach)
    return np.asarray(low + (high - low) * rng.random(value.shape)).astype(value.dtype)
