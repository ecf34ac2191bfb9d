# SPDX-License-Identifier: Apache-2.0
"""The rows of a finding's table: the worst elements with the three gradients, worst first."""

from __future__ import annotations

import numpy as np

from gradcheck.measure.measurement import Measurement
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.closeness import largest, worst_first
from gradcheck.results import Element
from gradcheck.verdict.discrepancy import Mask
from gradcheck.verdict.tolerances import SMALLEST


def rows_of(m: Measurement, chosen: Mask, most: int) -> tuple[Element, ...]:
    """Return the worst of the chosen elements of a measurement."""
    bound = np.where(np.isfinite(m.error), m.error, 0.0)
    return rows_between(m, chosen, most, m.gradient, m.wanted, m.tolerance + bound)


def rows_between(
    m: Measurement,
    chosen: Mask,
    most: int,
    found: Array,
    wanted: Array,
    tolerance: Array,
    label: str | None = None,
) -> tuple[Element, ...]:
    """Return the worst of the chosen elements of two gradients.

    With a `label`, `found` is the gradient in another mode, shown under it, and `wanted` the
    analytic one; without, `found` is the analytic one.
    """
    rows = []
    for i in worst_first(chosen, found, wanted, most):
        gap = abs(float(found[i]) - float(wanted[i]))
        size = abs(float(wanted[i])) or abs(float(found[i])) or 1.0
        rows.append(
            Element(
                m.slot.where(int(i)),
                float(m.point[i]),
                float((found if label is None else wanted)[i]),
                None if m.autodiff is None else float(m.autodiff[i]),
                None if m.declared else float(m.value[i]),
                gap,
                gap / size,
                float(tolerance[i]),
                {} if label is None else {label: float(found[i])},
                exact=None if m.exact is None else float(m.exact[i]),
            )
        )
    return tuple(rows)


def worst_error(own: Array, exact: Array, whole: Array) -> str:
    """Say how large an error is beside its own size and the largest; in itself where all of the gradient is zero."""
    error, most = np.abs(own - exact), largest(whole)
    if not most:
        return f"{float(error.max()):.2g}"
    return f"{float(np.max(error / np.maximum(np.abs(exact), SMALLEST * most))):.2g} (relative)"
