"""Forward values: the op against its `reference`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.autodiff.subject import Subject
from gradcheck.checks.gradients import main_reference, other_reference
from gradcheck.results import Comparison, Finding

PHASE = "values"
RTOL = 1e-4


def check(subject: Subject, found: Sequence[Finding]) -> Iterator[Finding | Comparison]:
    """Compare the op's forward value with that of `reference`."""
    if subject.case.reference is None or not subject.layout.outputs.width:
        return
    op, other = main_reference(subject), other_reference(subject)
    assert other is not None
    scale = float(np.abs(op.point.y).max(initial=0.0))
    wide = op.realm.wide and other.realm.wide
    rtol = RTOL if wide else max(RTOL, 64 * op.realm.roundoff)
    gap = np.abs(op.point.y - other.point.y)
    odd = gap > rtol * (np.abs(op.point.y) + 1e-2 * scale)
    if odd.any():
        worst = int(np.argmax(gap))
        yield Finding(
            "value-mismatch",
            f"the op gives {op.point.y[worst]:.6g} where `{subject.case.reference}` gives {other.point.y[worst]:.6g}"
            f" ({int(odd.sum())} of {odd.size} elements differ)",
            hint="a reference must have the same forward values as the op",
            mode="eager",
            dtype=subject.dtype,
        )
