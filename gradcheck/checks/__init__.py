"""The checks, in the order in which they run: the first message is the root cause."""

from __future__ import annotations

from gradcheck.checks import (
    branches,
    captures,
    connection,
    contract,
    expectation,
    forward_mode,
    forward_values,
    linearity,
    modes,
    other_sites,
    other_values,
    own_dtype,
    repeatability,
    replicas,
    saved,
    second_order,
    slopes,
    unknown_sizes,
    uses,
    vectorized,
)
from gradcheck.checks.check import Check

CHECKS: tuple[Check, ...] = (
    contract.CHECK,
    expectation.CHECK,
    repeatability.CHECK,
    forward_values.CHECK,
    captures.CHECK,
    linearity.CHECK,
    slopes.CHECK,
    connection.CHECK,
    uses.CHECK,
    own_dtype.CHECK,
    modes.CHECK,
    forward_mode.CHECK,
    vectorized.CHECK,
    saved.CHECK,
    replicas.CHECK,
    unknown_sizes.CHECK,
    second_order.CHECK,
    other_values.ORDINARY,
    branches.CHECK,
    other_sites.CHECK,
    other_values.FAR,
)
