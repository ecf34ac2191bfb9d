# SPDX-License-Identifier: Apache-2.0
"""The gradient on both sides of every condition that the forward or grad_fn has.

It is compared with autodiff, which is cheap; only a finite difference may blame it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice

import numpy as np

from gradcheck.checks import modes_elsewhere
from gradcheck.checks.check import DERIVATIVE, FIXED, INPUTS, OUTPUTS, RULE, Check, Item
from gradcheck.checks.counterexamples import at_smallest
from gradcheck.checks.exact import compared_exactly
from gradcheck.checks.modes_elsewhere import apart_at, differ_at
from gradcheck.checks.nearby import SPOILT
from gradcheck.diagnose.away import elements_at, locate, place
from gradcheck.diagnose.conditions import told
from gradcheck.exact.thresholds import EXACT_BRANCHES
from gradcheck.measure.away import Away, brought_near, compare, look_at, reason_not_to_look
from gradcheck.measure.lab import Lab
from gradcheck.numerics.arrays import Array
from gradcheck.results import Exempted, Finding, Skipped
from gradcheck.sites.branches import BranchSite, Search, other_sides, reached_sites, searched
from gradcheck.verdict.tolerances import BRANCHES_CONFIRMED, MOST_BLAMED, SITES_CONFIRMED


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Drive every condition to both of its sides and compare the gradient there."""
    reason = reason_not_to_look(lab, structured=True)
    steering = None if reason else lab.steering
    if steering is None:
        yield Skipped(CHECK.name, reason or "the gradient cannot be traced, or not be followed op by op")
        return
    search = searched(lab, steering)
    yield search.reach()
    looked, modes_left = 0, 0 if modes_elsewhere.CHECK.reason_to_skip(lab, found) else SITES_CONFIRMED
    for site in reached_sites(search):
        if looked == BRANCHES_CONFIRMED:
            break
        questions = [_confirmed(lab, site)] if _is_odd(lab, site) else []
        if modes_left and differ_at(lab, site.x):
            modes_left -= 1
            questions.insert(0, _modes_apart(lab, site))
        looked += bool(questions)
        for items in map(list, questions):
            yield from items
            if any(isinstance(item, Finding) for item in items):
                return
    yield from compared_exactly(lab, _other_sides(search), "on another side of a condition")


CHECK = Check("conditions", "conditions", ask, (INPUTS, OUTPUTS, RULE, DERIVATIVE, FIXED), SPOILT, exploring=True)


def _other_sides(search: Search) -> Iterator[Array]:
    """Yield points on sides of conditions on which the sample is not."""
    for site in islice(chain(other_sides(search), reached_sites(search)), EXACT_BRANCHES):
        yield site.x


def _is_odd(lab: Lab, site: BranchSite) -> bool:
    """Return whether the gradient is no number there, or not autodiff's."""
    gradient = lab.gradient_near(replace(lab.precision.point, x=site.x))
    return gradient is not None and (not np.isfinite(gradient).all() or bool(compare(lab, site.x)[0].any()))


def _modes_apart(lab: Lab, site: BranchSite) -> Iterator[Item]:
    finding = apart_at(lab, site.x)
    if finding is not None:
        yield finding


def _confirmed(lab: Lab, site: BranchSite) -> Iterator[Item]:
    look = look_at(lab, site.x)
    for exemption in look.exempted:
        yield Exempted(exemption.reason, CHECK.name, int(exemption.elements.sum()))
    wrong = [w for w in brought_near(lab, look.wrong[:MOST_BLAMED], site.x) if not w.exempt]
    if wrong:
        yield from at_smallest(lab, _finding(lab, wrong, site), site.x)


def _finding(lab: Lab, wrong: Sequence[Away], site: BranchSite) -> Finding:
    first = wrong[0]
    slot, _ = locate(lab, first.coordinate)
    code = "gradient-nonfinite" if first.own_dtype else "gradient-mismatch"
    where = f"where {told(site.condition, site.side)}" if site.condition else "at other inputs"
    return Finding(
        code,
        f"the gradient of `{slot.name}` is right at the sample and wrong {where}: {place(lab, first)} it is"
        f" {first.analytic:.6g} and the reference {first.slope:.6g}",
        "region" if code == "gradient-mismatch" else None,
        hint="make the gradient of this branch that of the forward there; what both sides share belongs outside of it",
        wrt=slot.name,
        elements=elements_at(lab, wrong),
    )
