# SPDX-License-Identifier: Apache-2.0
"""What the op captures: the order of its variables, untracked variables, outer tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.backend.tensorflow.captured import captured_tensors, gets_gradient, moves_outputs, unlisted
from gradcheck.backend.tensorflow.faults import refused
from gradcheck.checks.check import CUSTOM, Check, Item
from gradcheck.measure.lab import Lab
from gradcheck.numerics.arrays import AnyArray
from gradcheck.results import Finding, Skipped
from gradcheck.verdict.tolerances import ORDER_ATOL, ORDER_RTOL


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Permute the variables handed to grad_fn; look for variables and tensors without gradient."""
    yield from _order(lab)
    yield from _untracked(lab)
    if lab.custom:
        yield from _tensors(lab)
    else:
        yield Skipped("captures: tensors of the surrounding scope", CUSTOM.otherwise)


CHECK = Check("captures", "captures", ask)


def _order(lab: Lab) -> Iterator[Finding]:
    if not lab.custom or len(lab.variables) < 2:
        return
    with lab.recorder.permuted():
        swapped = refused(lab.run)
    pairs = list(zip(lab.slots, lab.first.gradients, swapped.gradients if swapped else (), strict=False))
    odd = [slot.name for slot, a, b in pairs if not _equal(a, b)]
    if swapped is None or odd:
        names = ", ".join(v.name for v in lab.variables)
        yield Finding(
            "variables-order",
            f"grad_fn pairs its gradients with variables by position ({names}): handed in another order, the"
            " gradients go to the wrong variables",
            hint="the order of `variables` is a set's in eager and sorted by name in graphs: look each one up,"
            " [by_ref[v.ref()] for v in variables]",
            wrt=odd[0] if odd else None,
        )


def _equal(a: AnyArray | None, b: AnyArray | None) -> bool:
    if a is None or b is None:
        return a is None and b is None
    return np.shape(a) == np.shape(b) and bool(np.allclose(a, b, rtol=ORDER_RTOL, atol=ORDER_ATOL, equal_nan=True))


def _untracked(lab: Lab) -> Iterator[Finding]:
    for variable in unlisted(lab.loaded.op, lab.variables):
        yield Finding(
            "variable-untracked",
            f"variable `{variable.name}` reaches the output but is not in the layer's trainable_variables:"
            " no optimizer would update it",
            hint="create it with self.add_weight(...); Keras 3 does not track a plain tf.Variable",
            wrt=variable.name,
        )


def _tensors(lab: Lab) -> Iterator[Finding]:
    """Move each captured tensor a little: if the output moves and there is no gradient, yield a finding."""
    for captured in captured_tensors(lab.loaded.op):
        if not moves_outputs(lab.gradients, lab.values, captured):
            continue
        if not gets_gradient(lab.gradients, lab.values, lab.upstream, captured):
            yield Finding(
                "captured-tensor",
                f"tensor `{captured.name}` of the surrounding scope reaches the output but gets no gradient",
                hint=f"make `{captured.name}` an argument of the op if it is ever to be differentiated",
                wrt=captured.name,
            )
