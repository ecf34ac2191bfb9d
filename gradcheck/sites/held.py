# SPDX-License-Identifier: Apache-2.0
"""The op with other numbers for the inputs that are not differentiated: temperatures, scales, weights.

A number such as 1 or 0 hides that the gradient forgets it. Only a declared `domain` says which others may come.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck.backend.tensorflow.inputs import Leaf
from gradcheck.measure.lab import Lab
from gradcheck.numerics.arrays import AnyArray
from gradcheck.sites.site import SetUp
from gradcheck.verdict.tolerances import HELD_DRAWS


def other_held(lab: Lab) -> Iterator[SetUp]:
    """Yield set-ups with one input that is not differentiated at other numbers of its domain."""
    rng = lab.rng("held")
    for i, leaf in enumerate(lab.leaves):
        if not leaf.floating or leaf.differentiated or leaf.domain is None or lab.values[i].dtype.kind == "c":
            continue
        for _ in range(HELD_DRAWS):
            there = (*lab.values[:i], _drawn(rng, leaf, lab.values[i]), *lab.values[i + 1 :])
            yield SetUp(f"at other numbers of `{leaf.name}`", there, lab.gradients.state, resized=False)


def _drawn(rng: np.random.Generator, leaf: Leaf, value: AnyArray) -> AnyArray:
    """Return numbers of the domain, near the given ones where it has no end."""
    assert leaf.domain is not None
    wide = value.astype(float)
    reach = 1.0 + np.abs(wide)
    low = np.where(np.isfinite(leaf.domain[0]), leaf.domain[0], wide - reach)
    high = np.where(np.isfinite(leaf.domain[1]), leaf.domain[1], wide + reach)
    return np.asarray(low + (high - low) * rng.random(value.shape)).astype(value.dtype)
