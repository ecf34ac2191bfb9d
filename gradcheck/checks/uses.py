# SPDX-License-Identifier: Apache-2.0
"""Does TensorFlow use the custom gradient at all where the op is called?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.checks.check import CUSTOM, INPUTS, OUTPUTS, Check, Item
from gradcheck.measure.lab import Lab
from gradcheck.results import Finding


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Warn where a custom gradient is called in the forward and its grad_fn never runs."""
    if not lab.bypassed:
        return
    some = any(g is not None and np.any(np.asarray(g) != 0) for g in lab.first.gradients)
    if some or any(m.wrong.any() for m in lab.measurements):
        names = ", ".join(f"`{name}`" for name in lab.bypassed)
        yield Finding(
            "rule-bypassed",
            f"the custom gradient of {names} is not used: its forward is called, its grad_fn never is, and"
            " TensorFlow differentiates what the forward computes",
            hint="tf.vectorized_map and tf.stop_gradient around the op do so; use tf.map_fn, or write the op for a"
            " whole batch",
        )


CHECK = Check("uses", "uses", ask, (CUSTOM, INPUTS, OUTPUTS))
