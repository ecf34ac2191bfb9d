# SPDX-License-Identifier: Apache-2.0
"""A gradient that is the slope of a smooth function, which the forward follows in fine steps."""

from __future__ import annotations

import numpy as np

from gradcheck.diagnose.evidence import Diagnosis
from gradcheck.differences.stencils import long_slopes
from gradcheck.measure.gradients import measured_point
from gradcheck.measure.lab import Lab
from gradcheck.measure.measurement import Measurement
from gradcheck.verdict.tolerances import STAIRS_RTOL, STAIRS_SHARE, STAIRS_STEPS


def slope_of_stairs(lab: Lab, measurement: Measurement) -> Diagnosis | None:
    """Return the diagnosis for the slope of a function that the forward follows in fine steps, as a table does."""
    if not lab.facts.stopping or measurement.declared or not measurement.slot.plain:
        return None
    point = measured_point(lab)
    coordinates = np.arange(measurement.part.start, measurement.part.stop)[measurement.wrong]
    slopes = long_slopes(point, coordinates, STAIRS_STEPS)
    g, fine = measurement.gradient[measurement.wrong], measurement.value[measurement.wrong]
    with np.errstate(all="ignore"):
        off, close = np.abs(slopes - g), STAIRS_RTOL * np.abs(g).max(initial=0.0)
        # A gradient that is a little wrong is close to no slope: there long and fine differences agree.
        if not np.all(off <= close) or not np.median(off) < STAIRS_SHARE * np.median(np.abs(slopes - fine)):
            return None
    return Diagnosis(
        "straight-through",
        "the forward follows a smooth function in fine steps, and the gradient is the slope of that function",
        "if this is meant, name the smooth function: `surrogate:`",
    )
