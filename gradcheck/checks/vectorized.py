# SPDX-License-Identifier: Apache-2.0
"""Jacobians, with and without vectorization, and the op mapped over a stack by tf.vectorized_map and tf.map_fn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradcheck.backend.tensorflow.failures import first_line, hint_for
from gradcheck.backend.tensorflow.faults import own_fault, refused
from gradcheck.backend.tensorflow.uses import Mapped, jacobians, map_fn, mapped, vectorized_map
from gradcheck.checks.agreement import POINTLESS, bypassed, with_first_run
from gradcheck.checks.check import FIXED, INPUTS, OUTPUTS, Check, Item, Need, blamed_before
from gradcheck.diagnose.finding import seen_in, softened
from gradcheck.measure.lab import Lab
from gradcheck.measure.noise import own_values
from gradcheck.numerics.arrays import Array, Arrays
from gradcheck.results import Finding, Skipped
from gradcheck.sites.coordinates import another_point
from gradcheck.verdict.tolerances import JACOBIAN_NUMBERS
from gradcheck.ways import VECTORIZED, Way

WAY = Way(VECTORIZED, None)
ASKED = Need(lambda lab: VECTORIZED in lab.case.modes, "mode `vectorized` is not asked for", option=True)
DENSE = Need(
    lambda lab: all(leaf.indices is None and leaf.row_lengths is None for leaf in lab.leaves),
    "sparse and ragged tensors cannot be stacked",
)
LINEAR = "upstream-nonlinear"


@dataclass(frozen=True, slots=True)
class Use:
    """Name one use, how it is run on the op, and whether TensorFlow looks at the rule in it at all."""

    said: str
    run: Callable[[Lab, Any], tuple[Array, Array] | None]
    uses_rule: bool = True


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Compare each use with the first run; say where TensorFlow does not use the rule, or cannot do it."""
    linear = not any(f.code == LINEAR for f in found)
    small = lab.layout.inputs.width * lab.layout.outputs.width <= JACOBIAN_NUMBERS
    if not small:
        yield Skipped("vectorized: jacobian", "the Jacobian is large")
    if any(slot.complex for slot in (*lab.slots, *lab.layout.outputs.slots)):
        # A gradient of complex numbers is linear in real upstreams only: rows for 1 do not tell those for 1j.
        small = False
        yield Skipped("vectorized: jacobian", "a Jacobian is compared for real numbers only")
    blamed = blamed_before(lab, found)
    reported: set[str] = set()
    for use in (*(JACOBIANS if small and linear else ()), *MAPS):
        for item in _compared(lab, use):
            if not isinstance(item, Finding):
                yield item
            elif item.wrt not in blamed and item.code not in reported:
                reported.add(item.code)
                yield seen_in(WAY, item)


def _compared(lab: Lab, use: Use) -> Iterator[Item]:
    try:
        got = use.run(lab, lab.gradients)
    except Exception as error:
        if own_fault(error):
            raise
        yield _unsupported(lab, use, error)
        return
    if got is None:
        return
    found = with_first_run(lab, *got)
    yield from found.comparisons(lab, use.said, replace(WAY, device=lab.first_way.device))
    if found.values_differ:
        yield Finding(
            "value-mismatch",
            f"the forward value differs between {lab.first_way.label} and {use.said}",
            hint="the op depends on sizes or on Python state that are others there",
        )
        return
    for slot, part in zip(lab.slots, lab.layout.inputs.ranges(), strict=True):
        if found.odd[part].any():
            yield _finding(lab, use, slot.name, found.gradient[part], found.base[part], found.odd[part])


CHECK = Check("vectorized", "vectorized", ask, (ASKED, DENSE, FIXED, INPUTS, OUTPUTS), POINTLESS)


def _finding(lab: Lab, use: Use, name: str, found: Array, base: Array, odd: np.ndarray) -> Finding:
    worst = int(np.argmax(np.where(odd, np.nan_to_num(np.abs(found - base), nan=np.inf), -1)))
    said = f"{int(odd.sum())} of {odd.size} elements of the gradient of `{name}` differ, as {found[worst]:.6g} from"
    said = f"{said} {base[worst]:.6g}"
    if use.uses_rule or not (lab.custom or lab.facts.registered):
        return Finding(
            "mode-mismatch",
            f"the gradient differs between {lab.first_way.label} and {use.said}: {said}",
            hint="make grad_fn a function of its tensors only: sizes by tf.shape, no Python or NumPy state",
            wrt=name,
        )
    finding = Finding(
        "rule-bypassed",
        f"{use.said} does not use the custom gradient, and what it uses differs: {said}",
        hint="use tf.map_fn, take the gradient inside of what is mapped, or write the op for a whole batch",
        wrt=name,
    )
    return bypassed(lab, finding)


def _unsupported(lab: Lab, use: Use, error: BaseException) -> Finding:
    finding = Finding(
        "mode-unsupported",
        f"works in {lab.first_way.label} and raises in {use.said}: {first_line(error)}",
        hint=hint_for(error) or "use TensorFlow ops with a batched form, or leave the mode out with `modes:`",
    )
    if hint_for(error) is None and refused(lambda: use.run(lab, lab.gradients_of(lab.plain()))) is None:
        message = f"TensorFlow itself cannot run what the op computes in {use.said}: {first_line(error)}"
        finding = softened(replace(finding, message=message))
    return finding


# --- The uses ---------------------------------------------------------------------------------------------------------


def _by_jacobian(vectorized: bool) -> Callable[[Lab, Any], tuple[Array, Array]]:
    def run(lab: Lab, gradients: Any) -> tuple[Array, Array]:
        found = jacobians(gradients, lab.values, vectorized)
        total = [_contracted(lab.upstream, [row[k] for row in found]) for k in range(len(lab.slots))]
        return lab.layout.inputs.project(total), own_values(lab, lab.first)

    return run


def _contracted(upstream: Arrays, blocks: Arrays) -> Any:
    """Return u^T J summed over the outputs, None where no output depends on the source."""
    parts = [
        np.tensordot(np.asarray(u, dtype=np.result_type(j, np.float64)), j, axes=np.ndim(u))
        for u, j in zip(upstream, blocks, strict=True)
        if j is not None
    ]
    return sum(parts[1:], parts[0]) if parts else None


def _by_map(how: Callable[..., Any], tape_inside: bool) -> Callable[[Lab, Any], tuple[Array, Array] | None]:
    def run(lab: Lab, gradients: Any) -> tuple[Array, Array] | None:
        if not lab.sources:
            return None
        other = another_point(lab, "stacked")
        stacks = [np.stack([a, b]) for a, b in zip(lab.values, other, strict=True)]
        # Of the second element the upstream is zero, so that the gradients of variables are those of the first.
        ups = [np.stack([u, np.zeros_like(u)]) for u in lab.upstream]
        got = mapped(gradients, how, stacks, ups, tape_inside)
        return _first_of(lab, got)

    return run


def _first_of(lab: Lab, got: Mapped) -> tuple[Array, Array]:
    """Return gradient and values of the first element of a stack, in packed coordinates."""
    count = len(lab.sources)
    first = [None if g is None else g[0] for g in got.gradients[:count]]
    held = list(got.gradients[count:]) or list(lab.first.gradients[count:])
    gradient = lab.layout.inputs.project([*first, *held])
    return gradient, lab.layout.outputs.pack([o[0] for o in got.outputs])


JACOBIANS = (
    Use("tape.jacobian", _by_jacobian(True)),
    Use("tape.jacobian without vectorization", _by_jacobian(False)),
)
MAPS = (
    Use("tf.vectorized_map", _by_map(vectorized_map, False), uses_rule=False),
    Use("tf.vectorized_map, tape inside", _by_map(vectorized_map, True)),
    Use("tf.map_fn", _by_map(map_fn, False)),
)
