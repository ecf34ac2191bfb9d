# SPDX-License-Identifier: Apache-2.0
"""Is the gradient right where one number is zero, although TensorFlow's own rule may be wrong there too?

The rule of a product that divides by its factors gives 0 there, as a custom gradient that was written like it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.checks.check import CUSTOM, DERIVATIVE, FIXED, INPUTS, OUTPUTS, OWN_SLOPE, TENSORS, Check, Item, Need
from gradcheck.checks.nearby import SPOILT
from gradcheck.diagnose.away import elements_at, locate
from gradcheck.measure.away import contradicted_at, reason_not_to_look
from gradcheck.measure.lab import Lab
from gradcheck.results import Finding, Skipped
from gradcheck.sites.special import single_zeros

UNCHANGED = Need(lambda lab: not lab.state_changed, "the op changes its variables")


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Hold the gradient against differences where one number of an input is zero, whatever autodiff says."""
    reason = reason_not_to_look(lab)
    if reason is not None:
        yield Skipped(CHECK.name, reason)
        return
    for x in single_zeros(lab):
        wrong = contradicted_at(lab, x)
        if wrong:
            first = wrong[0]
            slot, _ = locate(lab, first.coordinate)
            zero = int(np.flatnonzero((x == 0) & (lab.vector() != 0))[0])
            at, local = locate(lab, zero)
            yield Finding(
                "gradient-mismatch",
                f"the gradient of `{slot.name}` is wrong where `{at.name}` is 0 at {list(at.where(local))}:"
                f" {first.analytic:.6g}, the slope is {first.slope:.6g}; TensorFlow's own gradient of the forward makes"
                " the same mistake",
                "elements",
                hint="do not divide by what may be zero: multiply what is left of the product",
                wrt=slot.name,
                elements=elements_at(lab, wrong),
            )
            return


CHECK = Check(
    "single zeros",
    "special_numbers",
    ask,
    (CUSTOM, OWN_SLOPE, UNCHANGED, DERIVATIVE, FIXED, INPUTS, OUTPUTS, TENSORS),
    SPOILT,
    exploring=True,
)
