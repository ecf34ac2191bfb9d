# SPDX-License-Identifier: Apache-2.0
"""The op with other values of its variables: weights of one and biases of zero hide factors and terms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradcheck.backend.tensorflow.operation import State, differentiable
from gradcheck.measure.lab import Lab
from gradcheck.numerics.arrays import AnyArray
from gradcheck.numerics.closeness import wide
from gradcheck.sites.coordinates import another_point_of_like_signs
from gradcheck.sites.site import SetUp
from gradcheck.verdict.tolerances import VARIABLE_FACTORS, VARIABLE_MOVES


def other_variables(lab: Lab) -> Iterator[SetUp]:
    """Yield set-ups with every floating variable that the op reads at a general value near its own."""
    state = lab.gradients.state
    movable = [v.ref() in lab.movable and differentiable(v) for v in state.variables]
    if not any(movable):
        return
    for number, (size, with_inputs) in enumerate(VARIABLE_MOVES):
        rng = lab.rng("variables", str(number))
        moved = [
            _moved(value, rng, size if v.trainable or value.size > 1 else 0.0) if f else value
            for v, value, f in zip(state.variables, state.values, movable, strict=True)
        ]
        values = another_point_of_like_signs(lab, "variables") if with_inputs else lab.values
        there = State(state.variables, tuple(moved))
        yield SetUp("at other values of the variables", tuple(values), there, resized=False)


def _moved(value: AnyArray, rng: np.random.Generator, size: float) -> Any:
    """Scale what is not zero, so that its sign and size stay; draw what is zero, of a typical `size`.

    Running averages start at zero; steps and counters do too, and those must stay whole.
    """
    factor = rng.uniform(*VARIABLE_FACTORS, value.shape)
    start = size * rng.normal(size=value.shape)
    old = wide(value)
    return np.where(old == 0, start, old * factor).astype(value.dtype)
