# SPDX-License-Identifier: Apache-2.0
"""The same gradient in every mode at other inputs: a branch that only a traced rule has shows where it is taken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from gradcheck.backend.tensorflow.failures import Stopped
from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.runs import Run
from gradcheck.checks import modes
from gradcheck.checks.check import FIXED, INPUTS, OUTPUTS, RULE, Check, Item, Need
from gradcheck.checks.counterexamples import found_at
from gradcheck.checks.nearby import SPOILT
from gradcheck.measure.lab import Lab
from gradcheck.measure.noise import own_gradient, own_values
from gradcheck.measure.own_points import own_point
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.closeness import close, largest
from gradcheck.results import Finding
from gradcheck.sites.redraws import redraws_and_grid
from gradcheck.verdict.tolerances import (
    ELSEWHERE_FLOOR,
    HALVES_ELSEWHERE_RTOL,
    LARGEST_INPUT,
    MODE_DRAWS,
    MODE_GRID_POINTS,
    REDRAWS,
    ROUNDINGS_LEFT,
    ROUNDOFF,
    SITES_CONFIRMED,
    SLOPE_RTOL,
)
from gradcheck.ways import XLA, Way


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Compare the modes at other draws and on a grid; blame what the whole comparison of modes confirms there."""
    odd = islice((x for x in _points(lab) if differ_at(lab, x)), SITES_CONFIRMED)
    yield from islice((finding for x in odd if (finding := apart_at(lab, x))), 1)


def differ_at(lab: Lab, x: Array) -> bool:
    """Return whether gradients or values of two modes are far apart at other inputs, where both are numbers."""
    values = own_point(lab, x)
    base = refused(lambda: lab.run(values=values))
    if base is None:
        return False
    others = (refused(lambda way=way: lab.run(way, values=values)) for way in _other_modes(lab))  # type: ignore[misc]
    return any(run is not None and _differ(lab, base, run) for run in others)


def apart_at(lab: Lab, x: Array) -> Finding | None:
    """Return what the whole comparison of the modes says at other inputs, None if it blames nothing."""
    try:
        finding = found_at(lab, own_point(lab, x), ("mode-mismatch",), modes.ask)
    except Stopped:
        return None
    finally:
        lab.gradients.state.restore()
    said = "Seen at other inputs; the modes agree at the sample."
    return finding and replace(finding, message=f"{finding.message.rstrip('.')}. {said}")


def _other_modes(lab: Lab) -> list[Way]:
    """Return the first way of every mode but the first, without XLA where it draws other random numbers."""
    first = {way.mode: way for way in reversed(lab.ways)}
    alike = (way for mode, way in first.items() if mode != lab.first_way.mode)
    return [way for way in alike if not (way.mode == XLA and lab.facts.stateless)]


SEVERAL = Need(lambda lab: bool(_other_modes(lab)), "no second mode was asked for, or it draws other random numbers")
SMALL = Need(lambda lab: lab.layout.inputs.width <= LARGEST_INPUT, "the inputs are large")
CHECK = Check(
    "modes at other inputs",
    "near_values",
    ask,
    (SEVERAL, RULE, FIXED, INPUTS, OUTPUTS, SMALL),
    SPOILT | {"value-mismatch", "mode-unsupported"},
    exploring=True,
)


def _points(lab: Lab) -> list[Array]:
    """Return a few draws and grid points: those beside the constants of the op come first."""
    sites = [site.x for site in redraws_and_grid(lab)]
    return [*sites[:MODE_DRAWS], *sites[REDRAWS:][:MODE_GRID_POINTS]]


def _differ(lab: Lab, base: Run, run: Run) -> bool:
    gradients, values = (own_gradient(lab, base), own_gradient(lab, run)), (own_values(lab, base), own_values(lab, run))
    upstream, inputs = largest(lab.cotangent), largest(lab.vector())
    return _far_apart(lab, *gradients, upstream) or _far_apart(lab, *values, inputs)


def _far_apart(lab: Lab, a: Array, b: Array, comes_in: float) -> bool:
    known = np.isfinite(a) & np.isfinite(b)
    rtol = HALVES_ELSEWHERE_RTOL if lab.rounds_to_half else SLOPE_RTOL
    rounding = ROUNDINGS_LEFT * ROUNDOFF.get(lab.coarsest, ROUNDOFF["float32"]) * comes_in
    return not close(b[known], a[known], rtol, rtol * ELSEWHERE_FLOOR * largest(a[known]) + rounding)
