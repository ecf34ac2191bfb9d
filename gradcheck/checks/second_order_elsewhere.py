# SPDX-License-Identifier: Apache-2.0
"""Is the second derivative right on the other sides of the conditions that the op has?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from gradcheck.backend.tensorflow.failures import Stopped
from gradcheck.checks import second_order
from gradcheck.checks.check import CUSTOM, DERIVATIVE, FIXED, INPUTS, OUTPUTS, TENSORS, Check, Item
from gradcheck.diagnose.conditions import told
from gradcheck.measure.away import reason_not_to_look
from gradcheck.measure.lab import Lab
from gradcheck.measure.own_points import moves_variables, own_point
from gradcheck.measure.prepare import prepare_at
from gradcheck.results import Element, Finding, Skipped
from gradcheck.sites.branches import BranchSite, other_sides, searched
from gradcheck.verdict.tolerances import SECOND_SITES, SEEN


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Take the second derivative where a condition is on another side than at the sample, in the first mode."""
    reason = reason_not_to_look(lab)
    if reason is not None or lab.steering is None:
        yield Skipped(CHECK.name, reason or "the gradient cannot be traced, or not be followed op by op")
        return
    for _, site in zip(range(SECOND_SITES), other_sides(searched(lab, lab.steering)), strict=False):
        finding = _wrong_at(lab, site)
        if finding is not None:
            yield finding
            return


CHECK = Check(
    "second order elsewhere",
    "second_order",
    ask,
    (second_order.ORDER_2, CUSTOM, DERIVATIVE, FIXED, INPUTS, OUTPUTS, TENSORS),
    second_order.BLOCKING | {"second-order-mismatch", "second-order-missing"},
    exploring=True,
)


def _wrong_at(lab: Lab, site: BranchSite) -> Finding | None:
    """Return the mismatch at a site, None if there is none that autodiff confirms."""
    if moves_variables(lab, site.x):
        return None
    try:
        there = prepare_at(lab, own_point(lab, site.x))
        there.ways = there.ways[:1]
        items = list(second_order.ask(there, []))
    except Stopped:
        return None
    finally:
        lab.gradients.state.restore()
    wrong = next((i for i in items if isinstance(i, Finding) and i.code == "second-order-mismatch"), None)
    if wrong is None or not wrong.elements or not all(_confirmed(element) for element in wrong.elements):
        return None
    assert site.condition is not None
    message = f"{wrong.message}; right at the sample, and wrong where {told(site.condition, site.side)}"
    return replace(wrong, message=message, hint="look at what grad_fn computes on that side of the condition")


def _confirmed(element: Element) -> bool:
    """Return whether autodiff of the forward says what the difference says."""
    slope, autodiff = element.finite_difference, element.autodiff
    return autodiff is not None and abs(autodiff - slope) <= SEEN * max(abs(slope), abs(autodiff), element.abs_error)
