# SPDX-License-Identifier: Apache-2.0
"""Is the gradient a number where an input is infinite, subnormal or minus zero, and value and autodiff are numbers?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.backend.tensorflow.faults import refused
from gradcheck.checks.check import CUSTOM, DERIVATIVE, FIXED, INPUTS, OUTPUTS, OWN_SLOPE, TENSORS, Check, Item, Need
from gradcheck.checks.nearby import SPOILT
from gradcheck.diagnose.finding import softened
from gradcheck.measure.lab import Lab
from gradcheck.numerics.closeness import wide
from gradcheck.results import Finding
from gradcheck.sites.special_numbers import SpecialSite, special_numbers
from gradcheck.verdict.tolerances import LARGEST_INPUT

SMALL = Need(lambda lab: lab.layout.inputs.width <= LARGEST_INPUT, "the inputs are large")


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Put each special number into each input; only NaN is blamed, and only where autodiff gives numbers."""
    for site in special_numbers(lab):
        finding = _at(lab, site)
        if finding is not None:
            # Not every op is meant for infinities; every op may meet the others.
            yield finding if site.finite else softened(finding)
            return


CHECK = Check(
    "special numbers",
    "special_numbers",
    ask,
    (CUSTOM, OWN_SLOPE, DERIVATIVE, FIXED, INPUTS, OUTPUTS, TENSORS, SMALL),
    SPOILT,
    exploring=True,
)


def _at(lab: Lab, site: SpecialSite) -> Finding | None:
    run = refused(lambda: lab.run(values=site.values))
    if run is None or not any(g is not None and np.isnan(wide(g)).any() for g in run.gradients):
        return None
    plain = lab.run_plain(values=site.values)
    if plain is None or not all(np.isfinite(wide(np.asarray(o))).all() for o in run.outputs):
        return None
    for slot, own, bare in zip(lab.slots, run.gradients, plain.gradients, strict=True):
        if own is None or bare is None or not np.isfinite(wide(bare)).all():
            continue
        count = int(np.isnan(wide(own)).sum())
        if count:
            return Finding(
                "gradient-nonfinite",
                f"the gradient of `{slot.name}` is NaN at {count} of {wide(own).size} elements when `{site.leaf}`"
                f" holds {site.number}: the value is a number there, and so is autodiff's gradient",
                hint="guard the input of the branch that gives NaN: tf.where(tf.math.is_finite(x), x, 0.0)",
                wrt=slot.name,
            )
    return None
