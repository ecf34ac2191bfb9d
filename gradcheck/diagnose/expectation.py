# SPDX-License-Identifier: Apache-2.0
"""Words for a gradient that is right, or not, in expectation: its bias, its variance, and what to do."""

from __future__ import annotations

import numpy as np

from gradcheck.measure.estimate import Estimate
from gradcheck.measure.lab import Lab
from gradcheck.numerics.arrays import Mask
from gradcheck.numerics.packing import Slot
from gradcheck.results import Element, Finding, Note
from gradcheck.verdict.tolerances import CLOSE, STANDARD_ERRORS

_SCORE = (
    "each draw gives autodiff's gradient of that draw, through which what is drawn does not change: add the gradient of"
    " the logarithm of its probability, weighted with the loss (the score function)"
)


def biased(
    lab: Lab, slot: Slot, part: slice, mean: Estimate, reference: Estimate, odd: Mask, pathwise: bool = False
) -> Finding:
    """Return the finding for a mean that is not the reference, with the factor between them if there is one.

    `pathwise` says that each draw gives autodiff's gradient of that draw.
    """
    m, r, e = mean.mean[part], reference.mean[part], mean.error[part]
    order = np.argsort(-np.abs(m - r) / np.fmax(e, np.finfo(float).tiny))
    worst = int(order[0])
    cause, hint = _cause(mean, reference, part)
    if cause == "unknown" and pathwise:
        cause, hint = "missing-term", _SCORE
    return Finding(
        "gradient-mismatch",
        f"the mean of {mean.draws} draws of the gradient of `{slot.name}` is not the reference: {m[worst]:.6g} with a"
        f" standard error of {e[worst]:.2g}, and the reference is {r[worst]:.6g}",
        cause,
        hint=hint,
        wrt=slot.name,
        elements=tuple(_element(lab, slot, part, int(i), mean, reference) for i in order[: lab.show] if odd[part][i]),
    )


def _cause(mean: Estimate, reference: Estimate, part: slice) -> tuple[str, str]:
    """Return the cause and the hint: one factor for all elements, or nothing that is known."""
    m, r, e = mean.mean[part], reference.mean[part], mean.error[part]
    weight = float(r @ r)
    factor = float(m @ r) / weight if weight else 0.0
    spread = float(np.sqrt(np.sum((e * r) ** 2))) / weight if weight else 0.0
    if weight and np.all(np.abs(m - factor * r) <= STANDARD_ERRORS * e + CLOSE * np.abs(r)):
        if abs(factor + 1) <= STANDARD_ERRORS * spread + CLOSE:
            return "sign-flip", "negate the estimate"
        if abs(factor) <= STANDARD_ERRORS * spread + CLOSE:
            return "zero", "the estimate is zero on average: weight it with what it depends on"
        return "constant-factor", f"divide the estimate by about {factor:.3g}"
    return "unknown", "look for a term or a weight of the estimator that is left out, or draws that are used twice"


def _element(lab: Lab, slot: Slot, part: slice, i: int, mean: Estimate, reference: Estimate) -> Element:
    k = part.start + i
    gap = abs(float(mean.mean[k] - reference.mean[k]))
    return Element(
        slot.where(i),
        float(lab.vector()[k]),
        float(mean.mean[k]),
        float(reference.mean[k]),
        None,
        gap,
        gap / (abs(float(reference.mean[k])) or 1.0),
        float(mean.error[k]),
    )


def noisy(name: str, mean: Estimate) -> Finding:
    """Return a warning where the draws are too few to tell the mean from zero."""
    return Finding(
        "inconclusive",
        f"{mean.draws} draws do not tell the mean gradient of `{name}` from zero: its standard error is"
        f" {float(mean.error.max(initial=0.0)):.2g}",
        "noise",
        hint="take more draws: `expectation: {samples: ...}`",
        wrt=name,
    )


def undeclared(lab: Lab) -> Finding:
    """Return a warning where nothing gives the expected gradient."""
    stops = ", ".join(cut.name for cut in lab.facts.cuts)
    return Finding(
        "inconclusive",
        f"the forward draws random numbers, and no gradient passes through {stops}: autodiff is no reference for the"
        " expected gradient",
        "domain",
        hint="name a function of the module that computes the expected value: `reference: expected_loss`",
    )


def summary(mean: Estimate, reference: Estimate) -> Note:
    """Return the bias and the variance of the estimate."""
    gap = np.abs(mean.mean - reference.mean)
    with np.errstate(all="ignore"):
        errors = gap / mean.error
    worst = float(np.nanmax(np.where(mean.error > 0, errors, 0.0), initial=0.0))
    return Note(
        f"expectation over {mean.draws} draws: largest bias {float(gap.max(initial=0.0)):.3g} ({worst:.1f} standard"
        f" errors), largest variance of one draw {float(mean.variance.max(initial=0.0)):.3g}"
    )
