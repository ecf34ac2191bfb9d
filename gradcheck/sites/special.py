# SPDX-License-Identifier: Apache-2.0
"""Rows that random numbers seldom make: equal, ascending and descending ones, one-hot ones, all of one sign."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from gradcheck.measure.lab import Lab
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.closeness import wide
from gradcheck.sites.coordinates import free_coordinates
from gradcheck.verdict.tolerances import WIDENED


def special_rows(lab: Lab) -> Iterator[Array]:
    """Yield points made of the sample's own numbers, inside the domain of each input."""
    base = lab.vector()
    free, shy = free_coordinates(lab)
    if not free.any():
        return
    for change in _CHANGES:
        x = base.copy()
        for position, part in zip(lab.sources, lab.layout.inputs.ranges(), strict=False):
            value = wide(lab.values[position])
            if np.isrealobj(value) and value.size and part.stop - part.start == value.size:
                x[part] = change(value).reshape(-1)
        x[lab.parameters] = np.copysign(x[lab.parameters], base[lab.parameters])
        yield np.where(free & ~(shy & (x == 0)), x, base)


def single_zeros(lab: Lab) -> Iterator[Array]:
    """Yield points with one number of one input zero: products, roots and logarithms are particular there."""
    base = lab.vector()
    free, shy = free_coordinates(lab)
    low, high = lab.layout.inputs.bounds()
    may = free & ~shy & (low < 0) & (high > 0) & (base != 0)
    for part in lab.layout.inputs.ranges()[: len(lab.sources)]:
        places = np.flatnonzero(may[part]) + part.start
        if places.size:
            x = base.copy()
            x[places[places.size // 2]] = 0.0
            yield x


def _equal_rows(value: Array) -> Array:
    return np.broadcast_to(value[:1], value.shape) if value.ndim else value


def _constant_rows(value: Array) -> Array:
    return np.broadcast_to(value[..., :1], value.shape) if value.ndim else value


def _one_hot(value: Array) -> Array:
    if not value.ndim or value.shape[-1] < 2:
        return value
    return np.where(np.arange(value.shape[-1]) == 0, value, 0.0)


def _ascending(value: Array) -> Array:
    return np.sort(value, axis=-1) if value.ndim else value


def _descending(value: Array) -> Array:
    return np.sort(value, axis=-1)[..., ::-1] if value.ndim else value


def _negative(value: Array) -> Array:
    return -np.abs(value)


def _widened(factor: float, value: Array) -> Array:
    return value * factor


_CHANGES: tuple[Callable[[Array], Array], ...] = (
    _equal_rows,
    _constant_rows,
    _one_hot,
    _ascending,
    _descending,
    np.abs,
    _negative,
    *(partial(_widened, factor) for factor in WIDENED),
)
