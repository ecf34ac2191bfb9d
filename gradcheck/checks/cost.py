# SPDX-License-Identifier: Apache-2.0
"""What the custom gradient costs beside autodiff of the plain forward, and whether it is worth having (`--cost`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gradcheck.checks.check import CUSTOM, FIXED, INPUTS, OUTPUTS, Check, Item, Need
from gradcheck.measure.cost import cost_at
from gradcheck.measure.lab import Lab
from gradcheck.measure.noise import own_gradient
from gradcheck.measure.other_sizes import grown
from gradcheck.measure.pulled import upstream_of
from gradcheck.results import Finding, Note, Skipped
from gradcheck.ways import INSIDE_TAPE

ASKED = Need(lambda lab: lab.case.cost is not None, "costs are not asked for (`--cost`)", option=True)
POINTLESS = frozenset({"gradient-shape", "gradient-count", "nondeterministic"})


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Measure in every mode, with the tape inside, at the case's sizes and at those that `cost` names."""
    ways = [way for way in lab.ways if way.tape in (None, INSIDE_TAPE) and way.device == lab.first_way.device]
    costs = []
    for rows, values, upstream in _sizes(lab):
        if values is None:
            yield Skipped(f"cost: {rows} rows", "the op does not take so many rows")
            continue
        for way in ways:
            cost = cost_at(lab, way, values, upstream, rows)
            if cost is None:
                yield Skipped(f"cost: {way.label}", "the custom gradient or autodiff cannot be run")
            else:
                costs.append(cost)
                yield cost
    if costs and all(not cost.worth_it for cost in costs) and not _more_exact(lab):
        yield Note(
            "the custom gradient is not worth having here: it is slower than autodiff of the plain forward, takes no"
            " less memory and is no more exact"
        )


CHECK = Check("cost", "cost", ask, (ASKED, CUSTOM, FIXED, INPUTS, OUTPUTS), POINTLESS)


def _sizes(lab: Lab) -> Iterator[tuple[int, Sequence[Any] | None, Sequence[Any]]]:
    """Yield numbers of rows with inputs and upstream; None for inputs that the op does not take."""
    first = next((len(lab.values[i]) for i in lab.sources if np.ndim(lab.values[i])), 1)
    yield first, lab.values, lab.upstream
    for rows in (lab.case.cost or {}).get("sizes", ()):
        larger = grown(lab, lab.bare, 0, int(rows), limited=False)
        if larger is None:
            yield int(rows), None, ()
            continue
        values, pulled = larger
        yield int(rows), values, upstream_of(lab, [(o.shape, o.dtype) for o in pulled.outputs])


def _more_exact(lab: Lab) -> bool:
    """Return whether the custom gradient is nearer to the one in float64 than autodiff, both in the own dtype."""
    plain = lab.run_plain()
    if plain is None:
        return True
    exact = lab.rounding.gradient
    own, bare = (np.abs(own_gradient(lab, run) - exact) for run in (lab.first, plain))
    return bool(np.nan_to_num(own, nan=np.inf).max(initial=0.0) < np.nan_to_num(bare, nan=np.inf).max(initial=0.0))
