# SPDX-License-Identifier: Apache-2.0
"""Does forward mode (tf.autodiff.ForwardAccumulator) give what the gradient gives?

For every tangent v and upstream u, <u, J v> = <J^T u, v>.  TensorFlow's forward mode does not look at a custom
gradient: it differentiates what the forward computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck.backend.tensorflow.failures import first_line, hint_for
from gradcheck.backend.tensorflow.faults import own_fault, refused
from gradcheck.backend.tensorflow.runs import Gradients, numpy_dtype
from gradcheck.backend.tensorflow.uses import pushed_forward
from gradcheck.checks import agreement
from gradcheck.checks.agreement import bypassed
from gradcheck.checks.check import FIXED, INPUTS, OUTPUTS, Check, Item, Need, blamed_before
from gradcheck.diagnose.finding import seen_in, softened
from gradcheck.measure.lab import Lab
from gradcheck.measure.noise import own_gradient
from gradcheck.numerics.arrays import Array, Arrays
from gradcheck.numerics.closeness import wide
from gradcheck.numerics.random_streams import signed_uniform
from gradcheck.results import Comparison, Finding, Skipped
from gradcheck.verdict.tolerances import ELSEWHERE_RTOL, HALVES_ELSEWHERE_RTOL, TANGENTS
from gradcheck.ways import FORWARD, Way

WAY = Way(FORWARD, None)
ASKED = Need(lambda lab: FORWARD in lab.case.modes, "mode `forward` is not asked for", option=True)
# After these a product with the gradient means nothing.
POINTLESS = agreement.POINTLESS | {"upstream-nonlinear"}


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Compare <u, J v> with <J^T u, v> for each input and variable, along a few tangents."""
    if any(slot.complex for slot in (*lab.slots, *lab.layout.outputs.slots)):
        yield Skipped(CHECK.name, "forward mode is compared for real numbers only")
        return
    blamed = blamed_before(lab, found)
    gradient, reported = own_gradient(lab, lab.first), False
    for number, (slot, part) in enumerate(zip(lab.slots, lab.layout.inputs.ranges(), strict=True)):
        pairs = []
        for draw in range(TANGENTS):
            tangents, coordinates = _tangents(lab, number, part, lab.rng("forward", slot.name, str(draw)))
            try:
                pushed = pushed_forward(lab.gradients, lab.values, tangents)
            except Exception as error:
                if own_fault(error):
                    raise
                yield _unsupported(lab, tangents, error)
                return
            pairs.append(_products(lab, pushed, gradient[part], coordinates))
        worst = max(pairs, key=lambda pair: _excess(lab, pair))
        fits = _excess(lab, worst) <= 1
        yield _comparison(lab, slot.name, worst, fits)
        if not fits and not reported and slot.name not in blamed:
            reported = True
            yield _finding(lab, slot.name, worst)


CHECK = Check("forward mode", "forward_mode", ask, (ASKED, FIXED, INPUTS, OUTPUTS), POINTLESS)

# <u, J v>, <J^T u, v>, and the size of what was added up.
Products = tuple[float, float, float]


def _tangents(lab: Lab, number: int, part: slice, rng: np.random.Generator) -> tuple[list[Any], Array]:
    """Return a tangent for each source and variable, zero but for one; and the coordinates of that one."""
    vector = np.zeros(lab.layout.inputs.width)
    vector[part] = signed_uniform(rng, part.stop - part.start)
    tensors = [
        value.astype(numpy_dtype(slot.dtype))
        for slot, value in zip(lab.slots, lab.layout.inputs.unpack(vector), strict=True)
    ]
    return tensors, lab.layout.inputs.slots[number].pack(tensors[number])


def _products(lab: Lab, pushed: Arrays, gradient: Array, coordinates: Array) -> Products:
    with np.errstate(all="ignore"):
        terms = [np.ravel(wide(u) * wide(jv)) for u, jv in zip(lab.upstream, pushed, strict=True)]
        pulled = gradient * coordinates
        size = sum(float(np.abs(t).sum()) for t in terms) + float(np.abs(pulled).sum())
        return float(sum(t.sum() for t in terms)), float(pulled.sum()), size


def _excess(lab: Lab, pair: Products) -> float:
    """Return how many times the tolerance two products are apart; infinite where one of them is no number."""
    forward, reverse, size = pair
    if np.isfinite(forward) != np.isfinite(reverse):
        return float("inf")
    if not np.isfinite(forward) or size == 0:
        return 0.0
    return abs(forward - reverse) / _tolerance(lab, size)


def _tolerance(lab: Lab, size: float) -> float:
    rtol = HALVES_ELSEWHERE_RTOL if lab.rounds_to_half else ELSEWHERE_RTOL
    return float(max(rtol, lab.case.rtol or 0.0) * size + (lab.case.atol or 0.0))


def _comparison(lab: Lab, name: str, pair: Products, fits: bool) -> Comparison:
    forward, reverse, size = pair
    gap = abs(forward - reverse)
    relative = gap / abs(reverse) if reverse else 0.0
    return Comparison(
        "forward-mode", name, FORWARD, None, lab.first_way.device, lab.dtype, fits, TANGENTS, gap, relative,
        _tolerance(lab, size),
    )  # fmt: skip


def _finding(lab: Lab, name: str, pair: Products) -> Finding:
    forward, reverse, _ = pair
    said = f"<u, J v> is {forward:.6g} and <J^T u, v> {reverse:.6g} along a random tangent of `{name}`"
    if not (lab.custom or lab.facts.registered or lab.case.surrogate or lab.case.expected_vjp):
        return seen_in(
            WAY,
            Finding(
                "mode-mismatch",
                f"forward mode and tape.gradient give two derivatives: {said}",
                hint="TensorFlow's own rules for the ops in the forward differ: write the forward with other ops",
                wrt=name,
            ),
        )
    finding = Finding(
        "rule-bypassed",
        f"tf.autodiff.ForwardAccumulator does not use the custom gradient, and what it uses differs: {said}",
        hint="use tape.gradient or tape.jacobian for this op, or write the forward so that its own derivative is the"
        " one that is meant",
        wrt=name,
    )
    return seen_in(WAY, bypassed(lab, finding))


def _unsupported(lab: Lab, tangents: Arrays, error: BaseException) -> Finding:
    plain: Gradients = lab.gradients_of(lab.plain())
    finding = Finding(
        "mode-unsupported",
        f"works in {lab.first_way.label} and raises in forward mode: {first_line(error)}",
        hint=hint_for(error) or "leave the mode out with `modes:`, or use ops that have a derivative of their gradient",
    )
    if hint_for(error) is None and refused(lambda: pushed_forward(plain, lab.values, tangents)) is None:
        said = f"TensorFlow itself has no forward mode for what the op computes: {first_line(error)}"
        finding = softened(replace(finding, message=said))
    return seen_in(WAY, finding)
