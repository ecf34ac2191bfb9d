"""The op at other sizes: a batch of four hides what is right for four rows only."""

from __future__ import annotations

from collections.abc import Iterator

from gradcheck.measure.lab import Lab
from gradcheck.measure.other_sizes import one_row, twice_along
from gradcheck.sites.site import SetUp
from gradcheck.verdict.tolerances import AXES_RESIZED


def other_sizes(lab: Lab) -> Iterator[SetUp]:
    """Yield set-ups with one row more, with one row, and with a later axis of twice the size."""
    if lab.case.dynamic_shapes is False:
        return
    state = lab.gradients.state
    for rows_more in (True, False):
        found = lab.one_row_more if rows_more else one_row(lab, lab.bare)
        lab.forget_row()
        if found is not None:
            values, wanted = found
            rows = next(len(a) for a, b in zip(values, lab.values, strict=True) if a is not b)
            said = f"with {rows} row{'s' * (rows != 1)}"
            yield SetUp(said, tuple(values), state, resized=True, wanted=wanted)
        del found
    for axis in range(1, AXES_RESIZED):
        found = twice_along(lab, lab.bare, axis)
        if found is not None:
            said = f"with axis {axis} of twice the size"
            yield SetUp(said, tuple(found[0]), state, resized=True, asked=False, wanted=found[1])
