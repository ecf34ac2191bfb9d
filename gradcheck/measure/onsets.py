# SPDX-License-Identifier: Apache-2.0
"""Gaps that begin where an iteration stops to converge: what lies beyond that place means as little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.measure.away import Away
from gradcheck.numerics.packing import Slot
from gradcheck.verdict.tolerances import SAME_ONSET

if TYPE_CHECKING:
    from gradcheck.measure.lab import Lab


def with_shared_onset(lab: Lab, wrong: Sequence[Away]) -> list[Away]:
    """Return what is wrong, exempt too where the gap begins at or beyond the place at which an exempt one begins.

    An iteration that stops to converge does so at a place, and what lies beyond means as little
    wherever one looks, towards zero too.
    """
    exempt = [w for w in wrong if w.exempt and w.moved]

    def excused(gap: Away) -> bool:
        return not (gap.exempt or gap.in_proportion) and any(_begins_beyond(lab, gap, other) for other in exempt)

    return [replace(gap, slowly=True) if excused(gap) else gap for gap in wrong]


def _begins_beyond(lab: Lab, wrong: Away, other: Away) -> bool:
    """Return whether a gap begins where one of the moved inputs is beyond the place at which another gap begins."""
    if not wrong.moved:
        return False
    coordinate, far = other.moved[0]
    direction, margin = np.sign(far - other.start), SAME_ONSET * abs(other.onset - other.start)
    share = (wrong.onset - wrong.start) / ((wrong.moved[0][1] - wrong.start) or 1.0)
    sample, slot = lab.vector(), _slot_of(lab, coordinate)
    begins = [sample[i] + share * (x - sample[i]) for i, x in wrong.moved
              if _slot_of(lab, i) is slot and np.sign(x - sample[i]) == direction]  # fmt: skip
    return any((there - other.onset) * direction >= -margin for there in begins)


def _slot_of(lab: Lab, coordinate: int) -> Slot:
    """Return the slot to which a coordinate belongs."""
    parts = zip(lab.slots, lab.layout.inputs.ranges(), strict=True)
    return next(slot for slot, part in parts if part.start <= coordinate < part.stop)
