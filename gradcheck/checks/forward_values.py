# SPDX-License-Identifier: Apache-2.0
"""Forward values: the op against its `reference`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.checks.check import OUTPUTS, Check, Item, Need
from gradcheck.measure.lab import Lab
from gradcheck.results import Finding
from gradcheck.verdict.tolerances import VALUE_FLOOR, VALUE_ROUNDINGS, VALUE_RTOL


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Compare the op's forward value with that of `reference`."""
    own, other = lab.precision, lab.other
    assert other is not None
    value, wanted = own.point.y, other.point.y
    scale = float(np.abs(value).max(initial=0.0))
    both_wide = own.op.wide and other.op.wide
    rtol = VALUE_RTOL if both_wide else max(VALUE_RTOL, VALUE_ROUNDINGS * own.op.roundoff)
    gap = np.abs(value - wanted)
    differs = gap > rtol * (np.abs(value) + VALUE_FLOOR * scale)
    if differs.any():
        worst = int(np.argmax(gap))
        yield Finding(
            "value-mismatch",
            f"the op gives {value[worst]:.6g} where `{lab.case.reference}` gives {wanted[worst]:.6g}"
            f" ({int(differs.sum())} of {differs.size} elements differ)",
            hint="a reference must have the same forward values as the op",
        )


REFERENCE = Need(lambda lab: lab.case.reference is not None, "the case names no `reference`", option=True)

CHECK = Check("forward values", "values", ask, needs=(REFERENCE, OUTPUTS))
