# SPDX-License-Identifier: Apache-2.0
"""Does the gradient survive loss scaling, under which mixed precision training multiplies the upstream by 2^15?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.backend.tensorflow.faults import refused
from gradcheck.checks.check import CUSTOM, FIXED, INPUTS, OUTPUTS, Check, Item, Need, blamed_before
from gradcheck.diagnose.finding import softened
from gradcheck.measure.lab import Lab
from gradcheck.numerics.closeness import wide
from gradcheck.results import Finding
from gradcheck.verdict.tolerances import LOSS_SCALE

HALF = Need(lambda lab: lab.rounds_to_half, "nothing in the op is in half precision", option=True)


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Scale the upstream; warn of infinities and NaN that TensorFlow's own gradient of the forward does not have."""
    blamed = blamed_before(lab, found)
    scaled = [(wide(u) * LOSS_SCALE).astype(u.dtype) for u in lab.upstream]
    if not all(np.isfinite(wide(u)).all() for u in scaled):
        scaled = [(wide(u) * np.sqrt(LOSS_SCALE)).astype(u.dtype) for u in lab.upstream]
    run = refused(lambda: lab.run(upstream=scaled))
    plain = lab.run_plain(upstream=scaled)
    if run is None or plain is None:
        return
    for slot, own, bare, first in zip(lab.slots, run.gradients, plain.gradients, lab.first.gradients, strict=True):
        if own is None or bare is None or first is None or slot.name in blamed:
            continue
        lost = ~np.isfinite(wide(own)) & np.isfinite(wide(bare)) & np.isfinite(wide(first))
        if lost.any():
            # A warning: the gradient is right, and a smaller scale may do.
            yield softened(
                Finding(
                    "gradient-nonfinite",
                    f"the gradient of `{slot.name}` overflows at {int(lost.sum())} of {lost.size} elements when the"
                    f" upstream is {int(LOSS_SCALE)} times as large, as under loss scaling; that of autodiff does not",
                    hint="multiply by the upstream last, or compute the rule in float32: tf.cast(upstream, tf.float32)",
                    wrt=slot.name,
                )
            )


CHECK = Check("loss scaling", "loss_scaling", ask, (HALF, CUSTOM, FIXED, INPUTS, OUTPUTS))
