# SPDX-License-Identifier: Apache-2.0
"""Does anything reach the inputs? An output that depends on none of them, and one from which no gradient comes back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.keras_types import is_layer
from gradcheck.checks.check import FIXED, INPUTS, OUTPUTS, Check, Item, Need
from gradcheck.measure.lab import Lab
from gradcheck.numerics.arrays import AnyArray, Array
from gradcheck.results import Finding
from gradcheck.verdict.tolerances import NAMED, PUSH_RANGE, PUSHES


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Warn where every gradient is None or zero: because nothing depends on the inputs, or because an op stops it."""
    dead = [part for part, g in zip(lab.layout.inputs.ranges(), lab.first.gradients, strict=True) if _is_nothing(g)]
    if len(dead) < len(lab.slots):
        yield from _untrained(lab, dead)
        return
    if not np.any(lab.cotangent):
        yield Finding(
            "inconclusive",
            "nothing was compared: the upstream that is given is zero, and so is every gradient",
            hint="give an upstream of other numbers, or leave `upstream` out",
        )
        return
    if not _outputs_move(lab, slice(None)):
        yield Finding(
            "unconnected",
            "the output does not depend on any input or variable, so that there is no gradient to compare",
            hint="compute the output from the inputs; an input may be overwritten or never used",
        )
        return
    if _gradient_moves(lab):
        return
    stopping = ", ".join(lab.facts.stopping[:NAMED])
    by = f": {stopping} in the forward stop{'s' * (len(lab.facts.stopping) == 1)} it" if stopping else ""
    yield Finding(
        "no-gradient",
        f"the gradient is None or zero for every input and variable although the output changes with them{by}",
        hint="nothing can be learnt through this op: use a smooth form, or give the step a gradient of its own and"
        " name it with `surrogate`",
        **_line_of(lab),
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


def ask_empty(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Warn where there is no number to compare."""
    if lab.layout.inputs.width and lab.layout.outputs.width:
        return
    empty = [slot.name for slot in (*lab.slots, *lab.layout.outputs.slots) if not slot.width]
    if empty:
        yield Finding(
            "inconclusive",
            f"nothing was compared: {', '.join(f'`{name}`' for name in empty)} holds no number",
            hint="give the inputs a size: `shape: [4, 3]`",
        )


EMPTY = Check("empty tensors", "connection", ask_empty)


def _is_nothing(gradient: AnyArray | None) -> bool:
    return gradient is None or not np.any(np.asarray(gradient) != 0)


def _untrained(lab: Lab, dead: Sequence[slice]) -> Iterator[Finding]:
    """Warn where an op that stops gradients leaves some weights of a layer without any."""
    if not is_layer(lab.loaded.op) or all(cut.is_choice for cut in lab.facts.cuts):
        return
    parts = zip(lab.slots, lab.layout.inputs.ranges(), strict=True)
    names = [slot.name for slot, part in parts if part in dead and _outputs_move(lab, part)]
    if names:
        stopping = ", ".join(cut.name for cut in lab.facts.cuts if not cut.is_choice)
        yield Finding(
            "no-gradient",
            f"the gradient of {', '.join(f'`{name}`' for name in names)} is None or zero although the output changes"
            f" with {'them' if len(names) > 1 else 'it'}: {stopping} in the forward stops it",
            hint="these weights are not trained: use a smooth form, or give the step a gradient of its own",
            **_line_of(lab),
        )


def _line_of(lab: Lab) -> dict[str, Any]:
    """Return the file and line of the first op that stops the gradient, nothing if none is known."""
    cut = next((cut for cut in lab.facts.cuts if cut.file and not cut.is_choice), None)
    return {} if cut is None else {"file": cut.file, "line": cut.line}


def _outputs_move(lab: Lab, part: slice) -> bool:
    """Return whether the outputs change when inputs and variables in a part are pushed, by a little and by much."""
    point = lab.precision.point
    for pushed in _pushed(lab, part):
        values = refused(lambda pushed=pushed: point.evaluate(pushed[None])[0])  # type: ignore[misc]
        if values is not None and np.any((values != point.y) & np.isfinite(values)):
            return True
    return False


def _gradient_moves(lab: Lab) -> bool:
    """Return whether some gradient is not zero at inputs beside the sample, where all of them are zero by chance."""
    point = lab.precision.point
    for pushed in _pushed(lab, slice(None)):
        gradient = lab.gradient_near(replace(point, x=pushed))
        if gradient is not None and np.any(np.nan_to_num(gradient) != 0):
            return True
    return False


def _pushed(lab: Lab, part: slice) -> Iterator[Array]:
    """Yield points with inputs and variables in a part pushed, by a little and by much."""
    point, rng = lab.precision.point, lab.rng("connection")
    chosen = np.zeros(point.x.size)
    chosen[part] = 1.0
    for number in range(PUSHES):
        size = chosen * point.sizes * (rng.uniform(*PUSH_RANGE, point.x.size) if number % 2 else 1.0)
        signs = rng.choice([-1.0, 1.0], point.x.size)
        yield point.clipped(point.x + size * signs * rng.uniform(0, 2, point.x.size))
