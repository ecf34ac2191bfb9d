# SPDX-License-Identifier: Apache-2.0
"""Inputs that hold a number at the edge of their dtype: infinities, the smallest normal number, a subnormal one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck.measure.lab import Lab


@dataclass(frozen=True, slots=True)
class SpecialSite:
    """Hold leaves of which one has a special number at its first place; `number` says which."""

    leaf: str
    number: str
    finite: bool
    values: list[Any]


def special_numbers(lab: Lab) -> Iterator[SpecialSite]:
    """Yield the sites, one input at a time; nothing leaves a domain, and what keeps away from zero does so."""
    for position in lab.sources:
        leaf, value = lab.leaves[position], lab.values[position]
        if value.dtype.kind != "f" or not value.size or not leaf.is_free:
            continue
        low, high = leaf.domain or (-np.inf, np.inf)
        kinds = np.finfo(value.dtype)
        for number, name in _numbers(kinds, shy=leaf.avoids_zero):
            # An end of a domain that is infinite is no number of it.
            if not low < number < high and not (np.isinf(number) and leaf.domain is None):
                continue
            moved = value.copy()
            moved.reshape(-1)[0] = number
            values = list(lab.values)
            values[position] = moved
            yield SpecialSite(leaf.name, name, bool(np.isfinite(number)), values)


def _numbers(kinds: Any, shy: bool) -> Iterator[tuple[Any, str]]:
    yield np.inf, "inf"
    yield -np.inf, "-inf"
    if not shy:
        tiny, least = kinds.smallest_normal, kinds.smallest_subnormal
        yield tiny, f"{tiny:.2g} (the smallest normal number)"
        yield -tiny, f"{-tiny:.2g} (the smallest normal number)"
        yield least, f"{least:.2g} (a subnormal number)"
        yield -kinds.dtype.type(0.0), "-0.0"
