# SPDX-License-Identifier: Apache-2.0
"""Ordinary values beside the sample: where the gradient is autodiff's there, and in which range it is not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradcheck.diagnose.regions import region_of
from gradcheck.measure.away import Mask, compare, reason_not_to_look
from gradcheck.measure.lab import Lab
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.packing import Slot
from gradcheck.sites.redraws import redraws_and_grid

# After these a gradient at other values says nothing new.
SPOILT = frozenset(
    {
        "gradient-mismatch",
        "gradient-nonfinite",
        "gradient-shape",
        "gradient-missing",
        "nondeterministic",
        "upstream-nonlinear",
        "stale-state",
        "gradient-dtype",
        "state-changed",
        "variables-order",
        "mode-mismatch",
    }
)


def region_nearby(lab: Lab, slot: Slot) -> str | None:
    """Return the range of an input's values in which its gradient is not autodiff's, None if no range holds them."""
    if not (lab.custom and not lab.case.expected_vjp and not lab.random) or slot.complex or reason_not_to_look(lab):
        return None
    sites, compared = compared_nearby(lab)
    return region_at(lab, slot, sites, compared) if sites else None


def compared_nearby(lab: Lab) -> tuple[list[Array], list[tuple[Mask, Mask]]]:
    """Return the coordinates of ordinary sites, and where the gradient is wrong and right at each."""
    sites = [site.x for site in redraws_and_grid(lab)]
    return sites, [compare(lab, x) for x in sites]


def region_at(lab: Lab, slot: Slot, sites: Sequence[Array], compared: Sequence[tuple[Mask, Mask]]) -> str | None:
    """Return the range of a slot's values in which the gradient is wrong at sites, None if no range holds them."""
    part = next(p for s, p in zip(lab.slots, lab.layout.inputs.ranges(), strict=True) if s is slot)
    if slot.complex:
        return None
    points = np.stack(sites)
    wrong, right = (np.stack([masks[k] for masks in compared]) for k in (0, 1))
    return region_of(points[:, part].ravel(), wrong[:, part].ravel(), right[:, part].ravel())
