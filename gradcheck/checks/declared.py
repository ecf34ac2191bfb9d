# SPDX-License-Identifier: Apache-2.0
"""The gradient against the one that `expected_vjp` declares, at other inputs and with other upstreams.

A declared gradient is a clip, a mask or a scale: what it does shows where inputs or upstream reach its bounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from gradcheck.backend.tensorflow.failures import Stopped
from gradcheck.backend.tensorflow.faults import refused
from gradcheck.checks.check import CUSTOM, FIXED, INPUTS, OUTPUTS, Check, Item, Need
from gradcheck.checks.nearby import SPOILT
from gradcheck.diagnose.away import locate
from gradcheck.measure.gradients import declared_at
from gradcheck.measure.lab import Lab
from gradcheck.measure.noise import own_gradient
from gradcheck.measure.own_points import own_point
from gradcheck.numerics.arrays import Array, Arrays, Mask
from gradcheck.numerics.closeness import largest
from gradcheck.results import Finding
from gradcheck.sites.held import other_held
from gradcheck.sites.integers import other_integers
from gradcheck.sites.redraws import redraws_and_grid
from gradcheck.sites.ties import ties
from gradcheck.verdict.tolerances import (
    DECLARED_FACTORS,
    DECLARED_POINTS,
    ELSEWHERE_FLOOR,
    ELSEWHERE_RTOL,
    HALVES_ELSEWHERE_RTOL,
    LARGEST_INPUT,
    NUDGED,
)

DECLARED = Need(lambda lab: bool(lab.case.expected_vjp), "the case declares no gradient (`expected_vjp`)", True)
SMALL = Need(lambda lab: lab.layout.inputs.width <= LARGEST_INPUT, "the inputs are large")


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Compare at the sample and at other draws, with upstreams of several sizes."""
    sites = list(redraws_and_grid(lab))
    # The first are draws, the last are a grid over ordinary values.
    chosen = [*sites[: DECLARED_POINTS // 2], *sites[DECLARED_POINTS // 2 :][-DECLARED_POINTS // 2 :]]
    points: list[Arrays] = [lab.values, *(own_point(lab, site.x) for site in chosen)]
    tries = [(values, factor) for values in points for factor in DECLARED_FACTORS]
    # Where values tie or integers repeat, several elements go to one place.
    tries += [(there.values, 1.0) for family in (ties, other_integers, other_held) for there in family(lab)]
    findings = (_at(lab, values, factor) for values, factor in tries)
    yield from islice((finding for finding in findings if finding is not None), 1)


CHECK = Check(
    "declared gradient elsewhere",
    "near_values",
    ask,
    (DECLARED, CUSTOM, FIXED, INPUTS, OUTPUTS, SMALL),
    SPOILT,
    exploring=True,
)


def _at(lab: Lab, values: Arrays, factor: float) -> Finding | None:
    """Return a finding where the gradient is another one than declared, here and at inputs beside."""
    here = _compared(lab, values, factor)
    if here is None or not here[2].any():
        return None
    rng = lab.rng("declared")
    beside = [
        (value * (1 + NUDGED * rng.uniform(-1, 1, value.shape))).astype(value.dtype) if i in lab.sources else value
        for i, value in enumerate(values)
    ]
    # At the bound of a clip rounding may put an element on either side.
    again = _compared(lab, beside, factor)
    wrong = here[2] & again[2] if again is not None else here[2] & False
    if not wrong.any():
        return None
    gradient, declared, _ = here
    place = int(np.argmax(np.where(wrong, np.abs(gradient - declared), -1.0)))
    slot, local = locate(lab, place)
    times = f", with an upstream {factor:g} times as large as the sample's" if factor != 1 else ""
    return Finding(
        "gradient-mismatch",
        f"the gradient of `{slot.name}` is the one that `expected_vjp` declares at the sample, and another one at other"
        f" inputs{times}: at {list(slot.where(local))} it is {gradient[place]:.6g}, declared is"
        f" {declared[place]:.6g}",
        "region",
        hint="compare the bounds and masks of grad_fn with those of the function that `expected_vjp` names",
        wrt=slot.name,
    )


def _compared(lab: Lab, values: Arrays, factor: float) -> tuple[Array, Array, Mask] | None:
    """Return the gradient, the declared one and where they differ; None where one of them cannot be had."""
    cotangent = factor * lab.cotangent
    run = refused(lambda: lab.run(values=values, upstream=lab.unpack_upstream(cotangent)))
    try:
        declared = refused(lambda: declared_at(lab, values, cotangent))
    except Stopped:
        return None
    if run is None or declared is None:
        return None
    gradient, wanted = own_gradient(lab, run), declared.gradient
    rtol = HALVES_ELSEWHERE_RTOL if lab.rounds_to_half else max(ELSEWHERE_RTOL, lab.case.rtol or 0.0)
    with np.errstate(all="ignore"):
        gap = np.abs(gradient - wanted)
        close = gap <= rtol * (np.abs(wanted) + ELSEWHERE_FLOOR * largest(wanted))
    known = declared.covers & np.isfinite(gradient) & np.isfinite(wanted)
    return gradient, wanted, np.asarray(~close & known)
