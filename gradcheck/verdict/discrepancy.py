# SPDX-License-Identifier: Apache-2.0
"""What goes through the verdict: an accusation, the exemptions that were granted, and who stays blamed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gradcheck.differences.assess import Assessment, Outcome
from gradcheck.differences.ladder import Label
from gradcheck.differences.vector_function import Point
from gradcheck.numerics.arrays import Array

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """Accuse elements of a gradient: at `point` it is `found`, and something else says `wanted`.

    The arrays have one entry for each of `coordinates`.  `assessment` is what finite differences
    say there, `autodiff` the gradient of the bare forward, None if there is none; `sampled` says
    that the point is the sample itself.
    """

    point: Point
    coordinates: NDArray[np.int64]
    found: Array
    wanted: Array
    elements: Mask
    assessment: Assessment
    autodiff: Array | None = None
    sampled: bool = True

    @property
    def nothing(self) -> Mask:
        """Return a mask that covers no element."""
        return np.zeros(self.found.size, bool)

    def only(self, elements: Mask) -> Discrepancy:
        """Return the same accusation of fewer elements."""
        return replace(self, elements=elements)


@dataclass(frozen=True, slots=True)
class Exemption:
    """Say why some elements are not blamed; what differences say there becomes `outcome` and `label`."""

    reason: str
    elements: Mask
    outcome: Outcome = Outcome.UNDECIDED
    label: Label | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Hold the elements that stay blamed, and the exemptions that were granted to the others."""

    blamed: Mask
    exemptions: tuple[Exemption, ...]

    def marked(self, assessment: Assessment) -> Assessment:
        """Return the assessment with the outcome and label that each exemption gives its elements."""
        outcome, label = assessment.outcome.copy(), assessment.label.copy()
        for exemption in self.exemptions:
            outcome[exemption.elements] = exemption.outcome
            if exemption.label is not None:
                label[exemption.elements] = exemption.label
        return replace(assessment, outcome=outcome, label=label)
