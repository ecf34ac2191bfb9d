# SPDX-License-Identifier: Apache-2.0
"""The op where values tie: two largest numbers in a row, few levels, one input equal to another."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from gradcheck.measure.lab import Lab
from gradcheck.numerics.closeness import largest, wide
from gradcheck.sites.site import SetUp
from gradcheck.verdict.tolerances import AXES_RESIZED, LARGEST_INPUT, LEVELS


def ties(lab: Lab) -> Iterator[SetUp]:
    """Yield set-ups in which values tie, none for long inputs."""
    for said, tied in (
        ("where values tie", _tied(lab)),
        ("where values tie", _coarse(lab)),
        *(("where neighbours are equal", _in_pairs(lab, axis)) for axis in range(AXES_RESIZED)),
        ("at rows of zeros", _zeros(lab, whole_row=True)),
        ("at a single zero", _zeros(lab, whole_row=False)),
    ):
        if tied is not None:
            yield SetUp(said, tuple(tied), lab.gradients.state, resized=False)


def _tied(lab: Lab) -> list[Any] | None:
    """Return leaves with two largest and two smallest numbers in each row, and half of one in another of its shape.

    None if that changes nothing, or the input is long.
    """
    values = list(lab.values)
    chosen = _tieable(lab)
    for i in chosen:
        values[i] = np.array(values[i])
        if np.ndim(values[i]) and values[i].shape[-1] > 1:
            rows = values[i].reshape(-1, values[i].shape[-1])
            order = np.argsort(wide(rows), axis=-1)
            every, pairs = np.arange(len(rows)), ((-2, -1), (1, 0))
            # Both pairs of a row of three would make all three equal.
            for one, other in pairs if order.shape[-1] >= 2 * len(pairs) else pairs[:1]:
                rows[every, order[:, one]] = rows[every, order[:, other]]
    # Of two inputs the larger takes from the smaller, which stays in the range where it was drawn.
    chosen.sort(key=lambda i: largest(wide(values[i])))
    for one, other in pairwise(chosen):
        a, b = values[one], values[other]
        if a.shape == b.shape and a.dtype == b.dtype and lab.leaves[other].domain is None:
            b.flat[: b.size // 2] = a.flat[: b.size // 2]
    return values if chosen else None


def _coarse(lab: Lab) -> list[Any] | None:
    """Return leaves that hold three numbers of their own only, so that windows, segments and medians tie too."""
    values = list(lab.values)
    chosen = [i for i in _tieable(lab) if values[i].size > LEVELS]
    for i in chosen:
        ordered = np.sort(values[i], axis=None)
        levels = ordered[(2 * np.arange(LEVELS) + 1) * ordered.size // (2 * LEVELS)]
        nearest = np.argmin(np.abs(wide(values[i])[..., None] - wide(levels)), axis=-1)
        values[i] = levels[nearest]
    return values if chosen else None


def _in_pairs(lab: Lab, axis: int) -> list[Any] | None:
    """Return leaves in which each second number along an axis is the one before it, as windows of a pooling meet."""
    values = list(lab.values)
    chosen = [i for i in _tieable(lab) if np.ndim(values[i]) > axis and values[i].shape[axis] > 1]
    for i in chosen:
        size = values[i].shape[axis]
        values[i] = np.take(values[i], [k - k % 2 for k in range(size)], axis=axis)
    return values if chosen else None


def _zeros(lab: Lab, whole_row: bool) -> list[Any] | None:
    """Return leaves of which the first row, along the last axis, is zero, or its last number; None for no domain."""
    values = list(lab.values)
    chosen = [i for i in _tieable(lab) if _holds_zero(lab, i) and np.ndim(values[i])]
    for i in chosen:
        values[i] = np.array(values[i])
        values[i].reshape(-1, values[i].shape[-1])[0, slice(None) if whole_row else -1] = 0
    return values if chosen else None


def _holds_zero(lab: Lab, leaf: int) -> bool:
    """Return whether an input may be zero: its domain holds it, and nobody keeps away from it."""
    low, high = lab.leaves[leaf].domain or (-np.inf, np.inf)
    own = wide(lab.values[leaf])
    drawn_on_both_sides = bool((own < 0).any() and (own > 0).any())
    return bool(low < 0 < high) and drawn_on_both_sides and not lab.leaves[leaf].avoids_zero


def _tieable(lab: Lab) -> list[int]:
    """Return the leaves of which some values may be the same: none if the input is long."""
    if lab.layout.inputs.width > LARGEST_INPUT:
        return []
    return [
        i for i in lab.sources if lab.leaves[i].is_free and lab.values[i].dtype.kind in "fV" and lab.values[i].size > 1
    ]
