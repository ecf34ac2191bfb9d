# SPDX-License-Identifier: Apache-2.0
"""Elements at which finite differences cannot decide, and why."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gradcheck.differences.assess import Outcome
from gradcheck.differences.ladder import Label
from gradcheck.measure.measurement import Measurement
from gradcheck.results import Finding
from gradcheck.verdict.tolerances import PLACES_NAMED

_CAUSES = {
    Label.KINK: "kink",
    Label.JUMP: "jump",
    Label.DOMAIN: "domain",
    Label.EDGE: "domain",
    Label.SINGULAR: "domain",
    Label.NONFINITE: "domain",
}
_REASONS = {
    "kink": "the slopes from left and right differ; any slope between them is accepted",
    "jump": "the value jumps there",
    "domain": "the edge of the domain, or an infinite slope",
    "noise": "rounding hides the slope",
}


def undecided_elements(measurement: Measurement) -> NDArray[np.bool_]:
    """Return where no difference can judge the gradient, and nothing else has shown that it is wrong."""
    open_ones = (measurement.outcome == Outcome.UNDECIDED) & ~measurement.agrees_with_autodiff
    open_ones |= np.isin(measurement.label, list(_CAUSES))
    known = measurement.wrong | measurement.nonfinite | measurement.lost | (measurement.label == Label.UNMEASURED)
    return np.asarray(open_ones & ~known)


def undecided(measurement: Measurement) -> Iterator[Finding]:
    """Yield a warning for each reason why elements cannot be judged, with the elements."""
    groups: dict[str, list[int]] = {}
    for i in np.where(undecided_elements(measurement))[0]:
        label = Label(measurement.label[i])
        if label in _CAUSES:
            groups.setdefault(_CAUSES[label], []).append(int(i))
        elif measurement.outcome[i] == Outcome.UNDECIDED and not measurement.agrees_with_autodiff[i]:
            groups.setdefault("noise", []).append(int(i))
    for cause, places in groups.items():
        shown = ", ".join(str(list(measurement.slot.where(i))) for i in places[:PLACES_NAMED]) + (
            ", ..." if len(places) > PLACES_NAMED else ""
        )
        yield Finding(
            "inconclusive",
            f"the finite difference of `{measurement.slot.name}` cannot decide at {len(places)}"
            f" element{'s' * (len(places) != 1)} ({shown}): {_REASONS[cause]}",
            cause,
            hint=f"keep inputs away with `avoid` or `domain` ({cause})",
            wrt=measurement.slot.name,
        )
