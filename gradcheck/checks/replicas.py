# SPDX-License-Identifier: Apache-2.0
"""The gradient in the replicas of a tf.distribute.MirroredStrategy, and the sum that an optimizer takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.backend.tensorflow.failures import first_line, hint_for
from gradcheck.backend.tensorflow.faults import own_fault
from gradcheck.backend.tensorflow.replicas import Mirrored, Replica
from gradcheck.checks.agreement import POINTLESS, with_first_run
from gradcheck.checks.check import FIXED, INPUTS, OUTPUTS, Check, Item, Need, blamed_before
from gradcheck.diagnose.finding import seen_in
from gradcheck.measure.lab import Lab
from gradcheck.measure.noise import own_gradient
from gradcheck.numerics.arrays import Array
from gradcheck.results import Finding
from gradcheck.verdict.rounding import beyond
from gradcheck.ways import EAGER, EAGER_MODE, FUNCTION, INSIDE, Way

ASKED = Need(lambda lab: lab.case.strategy is not None, "the case has no `strategy`", option=True)
# Where a case names no devices.
DEVICES = ("cpu:0", "cpu:1")
HINT = "let the op depend on its tensors and variables only, not on the replica or on Python state"


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Run the op in every replica on the same inputs: each must give what one alone gives."""
    devices = lab.case.devices if lab.case.devices and len(lab.case.devices) > 1 else DEVICES
    variables = [variable.variable for variable in lab.variables]
    blamed = blamed_before(lab, found)
    for mode in (m for m in (EAGER_MODE, FUNCTION) if m in lab.case.modes or m == EAGER_MODE):
        way = EAGER if mode == EAGER_MODE else INSIDE
        try:
            mirrored = Mirrored(lab.loaded, lab.operation, devices, lab.values, variables)
            each = mirrored.run(lab.values, lab.upstream, lab.sources, mode == FUNCTION)
        except Exception as error:
            if own_fault(error):
                raise
            yield seen_in(way, _raises(lab, error))
            return
        for item in _compared(lab, mode, mirrored, each):
            if not isinstance(item, Finding):
                yield item
            elif item.wrt not in blamed:
                yield seen_in(way, item)
                return


CHECK = Check("replicas", "replicas", ask, (ASKED, FIXED, INPUTS, OUTPUTS), POINTLESS)


def _compared(lab: Lab, mode: str, mirrored: Mirrored, each: Sequence[Replica]) -> Iterator[Item]:
    rounding, count, base = lab.rounding, len(each), own_gradient(lab, lab.first)
    for number, replica in enumerate(each):
        where = f"replica {number} of {count} under MirroredStrategy"
        values = lab.layout.outputs.pack(replica.outputs)
        found = with_first_run(lab, lab.layout.inputs.project(replica.gradients), values)
        yield from found.comparisons(lab, where, Way(mode, None, lab.first_way.device))
        if found.values_differ:
            yield Finding(
                "value-mismatch", f"the forward value differs in {where} from {lab.first_way.label}", hint=HINT
            )
        yield from _differing(lab, where, found.gradient, base, found.odd)
    sums = [mirrored.summed(each, k) for k in range(len(lab.slots))]
    total = lab.layout.inputs.project(sums)
    odd = beyond(total, count * base, count * rounding.gradient, count * rounding.gradient_tolerance, rounding.roundoff)
    yield from _differing(lab, f"the sum over {count} replicas", total, count * base, odd)


def _differing(lab: Lab, where: str, found: Array, base: Array, odd: np.ndarray) -> Iterator[Finding]:
    for slot, part in zip(lab.slots, lab.layout.inputs.ranges(), strict=True):
        if odd[part].any():
            i, count = int(odd[part].argmax()), int(odd[part].sum())
            message = (
                f"the gradient of `{slot.name}` in {where} is not that of {lab.first_way.label} at {count} of"
                f" {odd[part].size} elements, as {found[part][i]:.6g} from {base[part][i]:.6g}"
            )
            yield Finding("mode-mismatch", message, hint=HINT, wrt=slot.name)


def _raises(lab: Lab, error: BaseException) -> Finding:
    return Finding(
        "mode-unsupported",
        f"works in {lab.first_way.label} and raises in a replica under MirroredStrategy: {first_line(error)}",
        hint=hint_for(error) or "make variables when the op is built, inside of the strategy's scope",
    )
