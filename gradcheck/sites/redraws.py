# SPDX-License-Identifier: Apache-2.0
"""The sample drawn anew, and ordinary values on a fine grid and on both sides of the op's constants.

A threshold that differs between forward and grad_fn shows only between the two, and a dozen random
numbers seldom lie there.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck.measure.lab import Lab
from gradcheck.measure.own_points import redrawn
from gradcheck.numerics.arrays import Array
from gradcheck.sites.coordinates import free_coordinates, inside
from gradcheck.sites.site import Site
from gradcheck.verdict.tolerances import BESIDE_CONSTANTS, GRID_REACH, GRID_STEP, ORDINARY_SITES, REDRAWS


def redraws_and_grid(lab: Lab) -> Iterator[Site]:
    """Yield the sample drawn anew, then grid values spread over the coordinates."""
    base = lab.vector()
    free, _ = free_coordinates(lab)
    places = np.flatnonzero(free)
    if not places.size:
        return
    for number in range(REDRAWS):
        x = redrawn(lab, base, number)
        if x is not None:
            yield Site(x)
    low, high = lab.layout.inputs.bounds()
    values = _values(lab, lab.rng("near"))
    rows = int(min(np.ceil(values.size / places.size), ORDINARY_SITES - REDRAWS))
    spread = np.resize(values, rows * places.size).reshape(rows, places.size)
    for row in spread:
        x = base.copy()
        x[places] = [inside(v, low[i], high[i], base[i]) for v, i in zip(row, places, strict=True)]
        x[lab.parameters] = np.copysign(x[lab.parameters], base[lab.parameters])
        yield Site(x)


def _values(lab: Lab, rng: np.random.Generator) -> Array:
    """Return the values to try in random order: those beside constants first, as not all may find room."""
    constants = lab.precision.op.constants
    beside = [sign * (c + d) for c in constants for d in BESIDE_CONSTANTS for sign in (1.0, -1.0)]
    grid = np.arange(-GRID_REACH, GRID_REACH, GRID_STEP)
    jittered = rng.permutation(grid + GRID_STEP * rng.random(grid.size))
    return np.concatenate([rng.permutation(np.array(beside)), jittered])
