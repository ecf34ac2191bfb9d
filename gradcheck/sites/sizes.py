# SPDX-License-Identifier: Apache-2.0
"""The op at other sizes: a batch of four hides what is right for four rows only, and chunks of 64 what is wrong in 70.

Sizes beyond the whole numbers that are written in the op are tried, a few of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck.measure.lab import Lab
from gradcheck.measure.other_sizes import (
    alike_everywhere,
    grown,
    is_batch,
    longer_along,
    one_row,
    one_row_of_integers_more,
    own_size,
)
from gradcheck.measure.steering import written_numbers_of
from gradcheck.sites.site import SetUp
from gradcheck.verdict.tolerances import AXES_RESIZED, SIZES_TRIED


def other_sizes(lab: Lab) -> Iterator[SetUp]:
    """Yield set-ups with one row more, with one row, a longer later axis, and a larger size of several axes."""
    if lab.case.dynamic_shapes is False:
        return
    state, batch, takes_a_row = lab.gradients.state, False, False
    for rows_more in (True, False):
        found = lab.one_row_more if rows_more else one_row(lab, lab.bare)
        lab.forget_row()
        if found is not None:
            values, wanted = found
            rows = next(len(a) for a, b in zip(values, lab.values, strict=True) if a is not b)
            said = f"with {rows} row{'s' * (rows != 1)}"
            batch = is_batch(lab, values, wanted) if rows_more else batch
            takes_a_row |= rows_more
            yield SetUp(said, tuple(values), state, resized=True, asked=batch or not rows_more, wanted=wanted)
        del found
    # Rows that cannot be one more may be twice as many, as what is made of pairs of them.
    for axis in range(int(takes_a_row), AXES_RESIZED):
        for size, values, wanted in longer_along(lab, lab.bare, axis):
            said = f"with axis {axis} of size {size}" if axis else f"with {size} rows"
            twice = axis > 0 and size == 2 * own_size(lab, axis)
            yield SetUp(said, tuple(values), state, True, asked=False, ordinary=twice, axis=axis, wanted=wanted)
    for own, size, values, wanted in alike_everywhere(lab, lab.bare):
        said = f"with {size} in the place of {own} in every shape"
        yield SetUp(said, tuple(values), state, resized=True, asked=False, ordinary=True, wanted=wanted)
    yield from _more_integers(lab)
    yield from _beyond_written_numbers(lab, batch)


def _more_integers(lab: Lab) -> Iterator[SetUp]:
    """Yield set-ups with one row more of integers that have a batch axis of their own, as the bags of an embedding."""
    for i, values, wanted in one_row_of_integers_more(lab, lab.bare):
        said = f"with {len(values[i])} rows of `{lab.leaves[i].name}`"
        yield SetUp(said, tuple(values), lab.gradients.state, resized=True, wanted=wanted)


def _beyond_written_numbers(lab: Lab, batch: bool) -> Iterator[SetUp]:
    """Yield set-ups with one more along an axis than a number that is written in the op; `batch`: rows are one."""
    if not written_numbers_of(lab):
        return
    ranks = [np.ndim(lab.values[i]) for i in lab.sources]
    for axis in range(min(max(ranks, default=0), AXES_RESIZED)):
        size = max((lab.values[i].shape[axis] for i in lab.sources if np.ndim(lab.values[i]) > axis), default=0)
        larger = [number + 1 for number in written_numbers_of(lab) if number >= size]
        for wanted in larger[:SIZES_TRIED]:
            found = grown(lab, lab.bare, axis, wanted)
            if found is not None:
                said = f"with {wanted} rows" if axis == 0 else f"with axis {axis} of size {wanted}"
                asked = not axis and batch
                yield SetUp(said, tuple(found[0]), lab.gradients.state, True, asked, wanted=found[1], axis=axis)
