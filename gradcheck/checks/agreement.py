# SPDX-License-Identifier: Apache-2.0
"""How another use of a gradient agrees with the first run: where they differ, and the comparison of each input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gradcheck.diagnose.finding import hardened
from gradcheck.measure.lab import Lab
from gradcheck.measure.noise import own_gradient, own_values
from gradcheck.numerics.arrays import Array, Mask
from gradcheck.numerics.chunks import chunks_of
from gradcheck.results import Comparison, Finding
from gradcheck.verdict.rounding import beyond
from gradcheck.ways import Way

# After these a gradient that was got in another way means nothing.
POINTLESS = frozenset({"gradient-shape", "nondeterministic", "gradient-count", "stale-state"})


@dataclass(frozen=True, slots=True)
class Agreement:
    """Hold the packed gradient of a use, that of the first run, where they differ, and whether the values do."""

    gradient: Array
    base: Array
    odd: Mask
    values_differ: bool

    def comparisons(self, lab: Lab, check: str, way: Way) -> Iterator[Comparison]:
        """Yield the comparison of each input and variable."""
        for slot, part in zip(lab.slots, lab.layout.inputs.ranges(), strict=True):
            tolerance = lab.rounding.gradient_tolerance[part]
            found, base, odd = self.gradient[part], self.base[part], self.odd[part]
            yield comparison(check, lab, way, slot.name, found, base, odd, tolerance)


def with_first_run(lab: Lab, gradient: Array, values: Array) -> Agreement:
    """Return how packed gradient and values agree with those of the first run, by what rounding explains."""
    rounding, base = lab.rounding, own_gradient(lab, lab.first)
    odd = beyond(gradient, base, rounding.gradient, rounding.gradient_tolerance, rounding.roundoff)
    base_values = own_values(lab, lab.first)
    differ = beyond(values, base_values, rounding.value, rounding.value_tolerance, rounding.roundoff)
    return Agreement(gradient, base, odd, bool(differ.any()))


def comparison(
    check: str, lab: Lab, way: Way, name: str, found: Array, base: Array, odd: Mask, tolerance: Array
) -> Comparison:
    """Return the comparison of one gradient in two ways."""
    absolute, relative = _worst(found, base)
    return Comparison(
        check, name, way.mode, way.tape, way.device, lab.dtype, not odd.any(), int(found.size), absolute, relative,
        float(np.fmax.reduce(tolerance, initial=0.0)),
    )  # fmt: skip


def _worst(found: Array, base: Array) -> tuple[float, float]:
    """Return the largest absolute and relative difference where both are finite."""
    absolute = relative = 0.0
    for part in chunks_of(base.size):
        with np.errstate(all="ignore"):
            error, size = np.abs(found[part] - base[part]), np.abs(base[part])
            both = np.isfinite(found[part]) & np.isfinite(size)
            absolute = max(absolute, float(np.max(error, where=both, initial=0.0)))
            relative = max(relative, float(np.max(error / size, where=both & (size > 0), initial=0.0)))
    return absolute, relative


def bypassed(lab: Lab, finding: Finding) -> Finding:
    """Return a finding of `rule-bypassed` as an error where the case declares the gradient that is meant."""
    return hardened(finding) if lab.case.surrogate or lab.case.expected_vjp else finding
