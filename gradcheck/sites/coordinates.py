# SPDX-License-Identifier: Apache-2.0
"""Other points at which an op may be called: which coordinates are free, which keep a sign, and points near by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.measure.lab import Lab
from gradcheck.numerics.closeness import wide
from gradcheck.verdict.tolerances import FLIPPED, LARGEST_INPUT, POINT_FACTORS


def free_coordinates(lab: Lab) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which coordinates may take any value of the domain, and which keep away from zero."""
    width = lab.layout.inputs.width
    free, shy = np.zeros(width, bool), np.zeros(width, bool)
    for position, part in zip(lab.sources, lab.layout.inputs.ranges(), strict=False):
        free[part] = lab.leaves[position].is_free
        shy[part] = lab.leaves[position].avoids_zero
    return free, shy


def inside(value: float, low: float, high: float, kept: float) -> float:
    """Return the value if the domain holds it, its opposite if that does, else the value at hand."""
    if low < value < high:
        return value
    return -value if low < -value < high else kept


def another_point(lab: Lab, name: str = "another point", flipped: float = 0.0) -> list[Any]:
    """Return inputs near those of the case, inside their domains, a share of them with the other sign."""
    rng = lab.rng(name)
    moved = []
    for value, leaf in zip(lab.values, lab.leaves, strict=True):
        if not leaf.differentiated or leaf.structure:
            moved.append(value)
            continue
        new = wide(value) * rng.uniform(*POINT_FACTORS, value.shape)
        if flipped and leaf.domain is None:
            new = np.where(rng.random(value.shape) < flipped, -new, new)
        if leaf.domain is not None and not (leaf.domain[0] <= 0 <= leaf.domain[1]):
            new = np.clip(new, leaf.domain[0], leaf.domain[1])
        moved.append(new.astype(value.dtype))
    return moved


def another_point_of_like_signs(lab: Lab, name: str) -> list[Any]:
    """Return inputs near those of the case, of either sign where the sample has both."""
    moved = another_point(lab, name, flipped=FLIPPED)
    return [
        np.copysign(new, own) if own.dtype.kind in "fV" and ((own >= 0).all() or (own <= 0).all()) else new
        for new, own in zip(moved, lab.values, strict=True)
    ]


def turned_round(lab: Lab) -> Iterator[list[Any]]:
    """Yield the inputs of the case in the opposite order along every axis, then with one row more.

    What an op keeps of a call (a mask, an order, indices, a size) is another one there, though no number is.
    """
    yield [
        value if leaf.structure else np.ascontiguousarray(np.flip(value))
        for value, leaf in zip(lab.values, lab.leaves, strict=True)
    ]
    if lab.layout.inputs.width <= LARGEST_INPUT and lab.one_row_more is not None:
        yield list(lab.one_row_more[0])
