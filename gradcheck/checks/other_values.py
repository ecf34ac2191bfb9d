# SPDX-License-Identifier: Apache-2.0
"""The gradient at other values of its inputs: ordinary ones that the sample does not hold, and ones far from it.

It is compared with autodiff, which is cheap; only a finite difference may blame it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from gradcheck.backend.tensorflow.failures import finding_from
from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.operation import floating_arrays
from gradcheck.checks.check import DERIVATIVE, FIXED, INPUTS, OUTPUTS, RULE, Check, Item
from gradcheck.checks.counterexamples import at_smallest
from gradcheck.checks.nearby import SPOILT, compared_nearby, region_at
from gradcheck.diagnose.away import elements_at, findings_of, locate, place
from gradcheck.diagnose.inner_rules import inner_rule
from gradcheck.measure.away import (
    Away,
    Look,
    Mask,
    brought_near,
    followed,
    is_degenerate,
    look_at,
    reason_not_to_look,
)
from gradcheck.measure.lab import Lab
from gradcheck.measure.onsets import with_shared_onset
from gradcheck.measure.own_points import own_point
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.closeness import wide
from gradcheck.results import Exempted, Finding, Skipped
from gradcheck.sites.magnitudes import magnitudes
from gradcheck.verdict.tolerances import MOST_BLAMED, SITES_CONFIRMED


def ask_ordinary(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Compare with autodiff at other draws and on a grid; blame what differences confirm."""
    reason = reason_not_to_look(lab)
    if reason is not None:
        yield Skipped(ORDINARY.name, reason)
        return
    sites, compared = compared_nearby(lab)
    yield from islice(_raising(lab, [x for x, masks in zip(sites, compared, strict=True) if not _any(masks)]), 1)
    odd = [i for i, (wrong, _) in enumerate(compared) if wrong.any()]
    wrong: list[Away] = []
    for i in sorted(odd, key=lambda i: -int(compared[i][0].sum()))[:SITES_CONFIRMED]:
        look = look_at(lab, sites[i])
        yield from _exempted(ORDINARY.name, look)
        finite = [w for w in look.wrong if not w.own_dtype]
        wrong += [followed(lab, w, sites[i]) for w in finite[:MOST_BLAMED]]
    # What parts little by little is no branch; the values further out say so.
    wrong = [w for w in with_shared_onset(lab, wrong) if not w.exempt]
    if wrong:
        finding = _finding(lab, wrong, sites, compared)
        yield from at_smallest(lab, finding, _at(lab, wrong[0]))


def _any(masks: tuple[Mask, Mask]) -> bool:
    return bool(masks[0].any() or masks[1].any())


def _raising(lab: Lab, sites: Sequence[Array]) -> Iterator[Finding]:
    """Yield what grad_fn raises at inputs at which the forward and autodiff give numbers."""
    for x in sites:
        values = own_point(lab, x)
        plain = lab.run_plain(values=values)
        numbers = [] if plain is None else [*plain.outputs, *(g for g in plain.gradients if g is not None)]
        if not numbers or not all(np.isfinite(wide(n)).all() for n in floating_arrays(numbers)):
            continue
        lab.recorder.clear()
        if refused(lambda values=values: lab.run(values=values)) is None and lab.recorder.gradient_failure is not None:  # type: ignore[misc]
            failure = finding_from(lab.recorder.gradient_failure, "gradient-error", lab.recorder)
            message = (
                f"grad_fn raises at other inputs, at which the forward and autodiff give numbers: {failure.message}"
            )
            hint = "let grad_fn take what the forward takes, or give the range of real inputs with `domain`"
            yield replace(failure, message=message, hint=hint)


def _at(lab: Lab, wrong: Away) -> Array:
    """Return the sample with the inputs moved that make the gradient wrong."""
    x = lab.vector().copy()
    x[[coordinate for coordinate, _ in wrong.moved]] = [value for _, value in wrong.moved]
    return x


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
        meant = [w for w in brought_near(lab, look.wrong[:MOST_BLAMED], site.x) if not is_degenerate(w)]
        wrong = with_shared_onset(lab, [*wrong, *meant])
        # What is wrong towards zero may be exempt by what is seen further out.
        if sum(not w.exempt and not w.inward for w in wrong) >= MOST_BLAMED or len(wrong) >= MOST_BLAMED**2:
            break
    for finding in findings_of(lab, wrong):
        yield from _smallest(lab, finding, wrong)


def _smallest(lab: Lab, finding: Finding, wrong: Sequence[Away]) -> Iterator[Item]:
    """Yield a finding, an error with the smallest inputs that show it."""
    if finding.code not in ("gradient-mismatch", "gradient-nonfinite"):
        yield finding
        return
    shown = next(w for w in wrong if w.own_dtype == (finding.code == "gradient-nonfinite") and not w.exempt)
    yield from at_smallest(lab, finding, _at(lab, shown))


ORDINARY = Check(
    "other values", "near_values", ask_ordinary, (INPUTS, OUTPUTS, RULE, DERIVATIVE, FIXED), SPOILT, exploring=True
)
FAR = Check("values far away", "far_values", ask_far, (INPUTS, OUTPUTS, DERIVATIVE, FIXED), SPOILT, exploring=True)


def _exempted(check: str, look: Look) -> Iterator[Exempted]:
    for exemption in look.exempted:
        yield Exempted(exemption.reason, check, int(exemption.elements.sum()))


def _finding(lab: Lab, wrong: Sequence[Away], sites: Sequence[Array], compared: Sequence[tuple[Mask, Mask]]) -> Finding:
    slot, _ = locate(lab, wrong[0].coordinate)
    region = region_at(lab, slot, sites, compared)
    first = wrong[0]
    inner = inner_rule(lab, _at(lab, first), np.array([first.coordinate]))
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
