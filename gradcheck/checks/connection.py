"""Does anything reach the inputs? An output that depends on none of them, and one from which no gradient comes back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.backend.tensorflow.faults import refused
from gradcheck.checks.check import FIXED, INPUTS, OUTPUTS, Check, Item, Need
from gradcheck.measure.lab import Lab
from gradcheck.results import Finding
from gradcheck.verdict.tolerances import NAMED, PUSH_RANGE, PUSHES


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Warn where every gradient is None or zero: because nothing depends on the inputs, or because an op stops it."""
    if any(g is not None and np.any(np.asarray(g) != 0) for g in lab.first.gradients):
        return
    if not _outputs_move(lab):
        yield Finding(
            "unconnected",
            "the output does not depend on any input or variable, so that there is no gradient to compare",
            hint="compute the output from the inputs; an input may be overwritten or never used",
        )
        return
    stopping = ", ".join(lab.facts.stopping[:NAMED])
    by = f": {stopping} in the forward stop{'s' * (len(lab.facts.stopping) == 1)} it" if stopping else ""
    yield Finding(
        "no-gradient",
        f"the gradient is None or zero for every input and variable although the output changes with them{by}",
        hint="nothing can be learnt through this op: use a smooth form, or give the step a gradient of its own and"
        " name it with `surrogate`",
    )


UNDECLARED = Need(
    lambda lab: not (lab.case.surrogate or lab.case.expected_vjp), "the case declares the gradient that is meant"
)

CHECK = Check(
    "connection",
    "connection",
    ask,
    (INPUTS, OUTPUTS, FIXED, UNDECLARED),
    frozenset({"gradient-missing", "gradient-mismatch", "gradient-nonfinite", "gradient-shape"}),
)


def _outputs_move(lab: Lab) -> bool:
    """Return whether the outputs change when all inputs and variables are pushed, by a little and by much."""
    point, rng = lab.precision.point, lab.rng("connection")
    for number in range(PUSHES):
        size = point.sizes * (rng.uniform(*PUSH_RANGE, point.x.size) if number % 2 else 1.0)
        pushed = point.clipped(point.x + size * rng.choice([-1.0, 1.0], point.x.size) * rng.uniform(0, 2, point.x.size))
        values = refused(lambda pushed=pushed: point.evaluate(pushed[None])[0])  # type: ignore[misc]
        if values is not None and np.any((values != point.y) & np.isfinite(values)):
            return True
    return False
