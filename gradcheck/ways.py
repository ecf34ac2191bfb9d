# SPDX-License-Identifier: Apache-2.0
"""The ways in which a gradient is run: eager; traced or compiled, with the tape inside or outside of the function.

Beside these there are other uses of an op, each looked at by a check of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EAGER_MODE, FUNCTION, XLA = "eager", "function", "xla"
# Every mode, in the order in which they run; those after the first have a tape inside or outside.
MODES = (EAGER_MODE, FUNCTION, XLA)
# Forward mode, vectorized_map and jacobians, a SavedModel: where TensorFlow may not use the rule.
FORWARD, VECTORIZED, SAVED = "forward", "vectorized", "saved"
EVERY_MODE = (*MODES, FORWARD, VECTORIZED, SAVED)
ALL = "all"
INSIDE_TAPE, OUTSIDE_TAPE = "inside", "outside"
TAPES = (INSIDE_TAPE, OUTSIDE_TAPE)
FIRST_DEVICE = "cpu:0"
# What `reference:` says for exact arithmetic: always, or where it can be had.
EXACT, EXACT_AUTO, EXACT_STRICT = "exact", "auto", "strict"


@dataclass(frozen=True, slots=True)
class Way:
    """Name a mode, where the tape stands (None in eager) and a device."""

    mode: str
    tape: str | None
    device: str = FIRST_DEVICE

    @property
    def label(self) -> str:
        """Return `xla`, or `xla, tape outside`, with the device where it is not the first CPU."""
        text = self.mode if self.tape in (None, INSIDE_TAPE) else f"{self.mode}, tape {self.tape}"
        return text if self.device == FIRST_DEVICE else f"{text} on {self.device}"


EAGER = Way(EAGER_MODE, None)
INSIDE = Way(FUNCTION, INSIDE_TAPE)


def ways(modes: Sequence[str], tapes: Sequence[str], devices: Sequence[str]) -> list[Way]:
    """Return the ways to check, eager on the first device first; eager alone if only other uses are asked for."""
    if not set(modes) & set(MODES):
        modes = (EAGER_MODE,)
    found = [Way(EAGER_MODE, None, device) for device in devices if EAGER_MODE in modes]
    for mode in MODES[1:]:
        found += [Way(mode, tape, device) for device in devices for tape in tapes if mode in modes]
    return found


def expanded(modes: Sequence[str]) -> tuple[str, ...]:
    """Return modes in the order in which they run; `all` is every one of them."""
    return tuple(mode for mode in EVERY_MODE if mode in modes or ALL in modes)
