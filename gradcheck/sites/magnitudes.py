# SPDX-License-Identifier: Apache-2.0
"""Inputs far from the sample: the ends of what may come, large, small and mixed magnitudes, and zeros."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck.measure.lab import Lab
from gradcheck.numerics.arrays import Array
from gradcheck.sites.coordinates import free_coordinates, inside
from gradcheck.sites.site import Site
from gradcheck.verdict.tolerances import (
    COORDINATES_MOVED,
    FEWEST_FAR_SITES,
    JITTER,
    MAGNITUDES,
    MOST_FAR_SITES,
    ZEROED,
)


def magnitudes(lab: Lab) -> Iterator[Site]:
    """Yield the ends of what may come, then every magnitude of both signs, then some and all numbers zero."""
    base = lab.vector()
    free, shy = free_coordinates(lab)
    if not free.any():
        return
    yield from _ends(lab, base)
    signed = [sign * m for m in MAGNITUDES for sign in (1.0, -1.0)]
    low, high = lab.layout.inputs.bounds()
    rng, places = lab.rng("far"), np.where(free)[0]
    batches = int(np.clip(np.ceil(len(signed) / free.sum()), FEWEST_FAR_SITES, MOST_FAR_SITES))
    order: list[float] = []
    for _ in range(batches):
        x = base.copy()
        few = places.size <= COORDINATES_MOVED
        for i in places if few else rng.choice(places, COORDINATES_MOVED, replace=False):
            if not order:
                order = list(rng.permutation(signed))
            x[i] = inside(order.pop() * rng.uniform(1 - JITTER, 1 + JITTER), low[i], high[i], base[i])
        x[lab.parameters] = np.copysign(x[lab.parameters], base[lab.parameters])
        yield Site(x)
    for share in ZEROED if lab.custom else ():
        # Nothing is as particular as zero: 0 / 0, the norm of nothing, a branch on the sign.
        chosen = places[rng.random(places.size) < share]
        x = base.copy()
        x[chosen] = np.where((low[chosen] < 0) & (high[chosen] > 0) & ~shy[chosen], 0.0, base[chosen])
        yield Site(x)


def _ends(lab: Lab, base: Array) -> Iterator[Site]:
    """Yield sites with every other coordinate at an end of what may come, and those between at the other end."""
    free, shy = free_coordinates(lab)
    low, high = np.full(base.size, -np.inf), np.full(base.size, np.inf)
    for position, part in zip(lab.sources, lab.layout.inputs.ranges(), strict=False):
        low[part], high[part] = lab.leaves[position].ends
    every_other = np.arange(base.size) % 2 == 0
    for ends in (np.where(every_other, low, high), np.where(every_other, high, low)):
        known = free & np.isfinite(ends) & ~(shy & (ends == 0))
        if known.any():
            yield Site(np.where(known, ends, base))
