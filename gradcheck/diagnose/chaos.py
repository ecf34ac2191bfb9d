# SPDX-License-Identifier: Apache-2.0
"""Write the finding for an op in which a change of one rounding grows to order one."""

from __future__ import annotations

from gradcheck.measure.lab import Lab
from gradcheck.results import Finding


def chaos(lab: Lab) -> Finding:
    """Return the warning that single elements and modes cannot be compared."""
    return Finding(
        "inconclusive",
        f"a change of the inputs by one rounding comes out {lab.growth:.2g} times as large: modes and finite"
        " differences of single elements cannot be compared; analytic and autodiff agree",
        "chaotic",
        hint="draw smaller weights or inputs, or fewer steps",
    )
