"""The gradient at other values of its inputs: ordinary ones that the sample does not hold, and ones far from it.

It is compared with autodiff, which is cheap; only a finite difference may blame it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.checks.check import DERIVATIVE, FIXED, INPUTS, OUTPUTS, RULE, Check, Item
from gradcheck.diagnose.away import elements_at, findings_of, locate, place
from gradcheck.diagnose.inner_rules import inner_rule
from gradcheck.diagnose.regions import region_of
from gradcheck.measure.away import (
    Away,
    Look,
    Mask,
    compare,
    followed,
    is_degenerate,
    look_at,
    narrowed,
    reason_not_to_look,
    with_shared_onset,
)
from gradcheck.measure.lab import Lab
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.packing import Slot
from gradcheck.results import Exempted, Finding, Skipped
from gradcheck.sites.magnitudes import magnitudes
from gradcheck.sites.redraws import redraws_and_grid
from gradcheck.verdict.tolerances import MOST_BLAMED, SITES_CONFIRMED

# After these a gradient at other values says nothing new.
SPOILT = frozenset(
    {
        "gradient-mismatch",
        "gradient-nonfinite",
        "gradient-shape",
        "gradient-missing",
        "nondeterministic",
        "upstream-nonlinear",
        "stale-state",
        "gradient-dtype",
        "state-changed",
        "variables-order",
        "mode-mismatch",
    }
)


def ask_ordinary(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Compare with autodiff at other draws and on a grid; blame what differences confirm."""
    reason = reason_not_to_look(lab)
    if reason is not None:
        yield Skipped(ORDINARY.name, reason)
        return
    sites, compared = _compared(lab)
    odd = [i for i, (wrong, _) in enumerate(compared) if wrong.any()]
    wrong: list[Away] = []
    for i in sorted(odd, key=lambda i: -int(compared[i][0].sum()))[:SITES_CONFIRMED]:
        look = look_at(lab, sites[i])
        yield from _exempted(ORDINARY.name, look)
        wrong += [followed(lab, w, sites[i]) for w in look.wrong if not w.own_dtype][:MOST_BLAMED]
    # What parts little by little is no branch; the values further out say so.
    wrong = [w for w in with_shared_onset(lab, wrong) if not w.exempt]
    if wrong:
        yield _finding(lab, wrong, sites, compared)


def ask_far(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Look for NaN, infinity and disagreement with finite differences far from the sample."""
    reason = reason_not_to_look(lab)
    if reason is not None:
        yield Skipped(FAR.name, reason)
        return
    wrong: list[Away] = []
    for site in magnitudes(lab):
        look = look_at(lab, site.x)
        yield from _exempted(FAR.name, look)
        some = [narrowed(lab, w, site.x) if w.own_dtype else followed(lab, w, site.x) for w in look.wrong[:MOST_BLAMED]]
        wrong = with_shared_onset(lab, [*wrong, *(w for w in some if not is_degenerate(w))])
        # What is wrong towards zero may be exempt by what is seen further out.
        if sum(not w.exempt and not w.inward for w in wrong) >= MOST_BLAMED or len(wrong) >= MOST_BLAMED**2:
            break
    yield from findings_of(lab, wrong)


ORDINARY = Check(
    "other values", "near_values", ask_ordinary, (INPUTS, OUTPUTS, RULE, DERIVATIVE, FIXED), SPOILT, exploring=True
)
FAR = Check("values far away", "far_values", ask_far, (INPUTS, OUTPUTS, DERIVATIVE, FIXED), SPOILT, exploring=True)


def region_nearby(lab: Lab, slot: Slot) -> str | None:
    """Return the range of an input's values in which its gradient is not autodiff's, None if no range holds them."""
    if not (lab.custom and not lab.case.expected_vjp and not lab.random) or slot.complex or reason_not_to_look(lab):
        return None
    sites, compared = _compared(lab)
    return _region(lab, slot, sites, compared) if sites else None


def _compared(lab: Lab) -> tuple[list[Array], list[tuple[Mask, Mask]]]:
    """Return the coordinates of ordinary sites, and where the gradient is wrong and right at each."""
    sites = [site.x for site in redraws_and_grid(lab)]
    return sites, [compare(lab, x) for x in sites]


def _region(lab: Lab, slot: Slot, sites: Sequence[Array], compared: Sequence[tuple[Mask, Mask]]) -> str | None:
    part = next(p for s, p in zip(lab.slots, lab.layout.inputs.ranges(), strict=True) if s is slot)
    if slot.complex:
        return None
    points = np.stack(sites)
    wrong, right = (np.stack([masks[k] for masks in compared]) for k in (0, 1))
    return region_of(points[:, part].ravel(), wrong[:, part].ravel(), right[:, part].ravel())


def _exempted(check: str, look: Look) -> Iterator[Exempted]:
    for exemption in look.exempted:
        yield Exempted(exemption.reason, check, int(exemption.elements.sum()))


def _finding(lab: Lab, wrong: Sequence[Away], sites: Sequence[Array], compared: Sequence[tuple[Mask, Mask]]) -> Finding:
    slot, _ = locate(lab, wrong[0].coordinate)
    region = _region(lab, slot, sites, compared)
    first = wrong[0]
    x = lab.vector().copy()
    x[[coordinate for coordinate, _ in first.moved]] = [value for _, value in first.moved]
    inner = inner_rule(lab, x, np.array([first.coordinate]))
    if inner is not None:
        message = f"the gradient of `{slot.name}` is wrong {place(lab, first)}: {inner.message}"
        elements = elements_at(lab, wrong)
        return Finding("gradient-mismatch", message, inner.cause, hint=inner.hint, wrt=slot.name, elements=elements)
    where = f"where the input {region}" if region else f"at other inputs, as {place(lab, first)}"
    return Finding(
        "gradient-mismatch",
        f"the gradient of `{slot.name}` is right at the sample and wrong {where}: there {first.analytic:.6g}, the"
        f" reference is {first.slope:.6g}",
        "region",
        hint="look for a threshold, a branch or a mask in grad_fn that is not the forward's",
        wrt=slot.name,
        elements=elements_at(lab, wrong),
    )
