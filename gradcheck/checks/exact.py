# SPDX-License-Identifier: Apache-2.0
"""The gradient against the derivative in exact arithmetic, to 80 digits: no step, no noise, no rounding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.checks.check import FIXED, INPUTS, OUTPUTS, Check, Item, Need, blamed_before
from gradcheck.diagnose.away import locate
from gradcheck.diagnose.finding import hardened
from gradcheck.exact import is_installed
from gradcheck.exact.thresholds import EXACT_LEAST, EXACT_POINTS
from gradcheck.measure.lab import Lab
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.closeness import worst_first
from gradcheck.results import DIFFERENT, IDENTICAL, OPEN, Element, Exact, Exempted, Finding, Note
from gradcheck.sites.redraws import redraws_and_grid
from gradcheck.verdict.exemptions import PROVED
from gradcheck.ways import EXACT_STRICT

if TYPE_CHECKING:
    from gradcheck.measure.exact import ExactPoint

ASKED = Need(
    lambda lab: lab.case.exact is not None, "exact arithmetic is not asked for (`reference: exact`, --exact)", True
)
LIBRARY = Need(lambda lab: is_installed(), "python-flint is not installed: pip install python-flint")


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Compare at the sample and at a few other draws of the inputs."""
    assert lab.exact is not None
    first = lab.exact.sample
    if not lab.exact.is_tie:
        yield first.found
    if first.found.verdict == OPEN and lab.case.exact == EXACT_STRICT:
        yield _undecided(first.found)
    draws = (site.x for site in redraws_and_grid(lab))
    elsewhere = compared_exactly(lab, islice(draws, EXACT_POINTS), "at other draws of the inputs")
    blamed = blamed_before(lab, found)
    if lab.exact.is_tie:
        items = _in_place_of(first.found, elsewhere)
        yield from (item for item in items if not blamed or isinstance(item, Exact))
    elif not blamed and lab.exact.may_blame and not any(f.code == "rule-bypassed" for f in found):
        yield from _on_sample(lab, first)
        yield from elsewhere if not _is_wrong(lab, first) else ()


CHECK = Check(
    "exact arithmetic",
    "exact",
    ask,
    (ASKED, LIBRARY, INPUTS, OUTPUTS, FIXED),
    frozenset({"gradient-shape"}),
)


def _on_sample(lab: Lab, first: ExactPoint) -> Iterator[Item]:
    if _is_wrong(lab, first):
        yield _mismatch(lab, first, "in exact arithmetic")
    elif first.found.verdict == DIFFERENT:
        yield Note(
            f"exact arithmetic: different by {first.found.size:.1g} of the terms, less than {EXACT_LEAST:g}, from which"
            " on it is an error (--strict-exact: from 0 on)"
        )


def compared_exactly(lab: Lab, points: Iterable[Array], where: str) -> Iterator[Item]:
    """Yield what exact arithmetic says at points other than the sample, and a finding for the first that is wrong.

    A rule that is an approximation at the sample already may be a coarser one elsewhere.
    """
    if lab.exact is None or lab.exact.op is None or lab.exact.found.verdict == DIFFERENT:
        return
    if lab.exact.op.gradient is None and not lab.precision.op.wide:
        # Where terms cancel, numbers of a coarse dtype may have no digit left.
        return
    for x in points:
        point = lab.exact.at(x, lab.precision.on_alive(lab.cotangent))
        if point.found.verdict == OPEN:
            continue
        yield point.found
        if _is_wrong(lab, point):
            yield _mismatch(lab, point, f"{where}, in exact arithmetic", "region")
            return


def held_exactly(lab: Lab, finding: Finding, points: Sequence[Array]) -> Iterator[Item]:
    """Yield a finding and what exact arithmetic says of it, an exemption where that proves the gradient right.

    The first of the points at which it decides counts: the smallest inputs have zeros, at which many ops have ties.
    """
    if finding.code == "gradient-mismatch" and lab.exact is not None and lab.exact.is_followed:
        upstream = lab.precision.on_alive(lab.cotangent)
        every = (lab.exact.at(x, upstream).found for x in points)
        said = next((exact for exact in every if exact.verdict != OPEN), None)
        if said is not None:
            yield said
            if said.verdict == IDENTICAL:
                yield Exempted(PROVED, CHECK.name, 1)
                return
    yield finding


def _in_place_of(tie: Exact, elsewhere: Iterable[Item]) -> Iterator[Item]:
    """Yield what is found elsewhere, each verdict with the reason why it is not that of the sample; else the tie."""
    decided = False
    for item in elsewhere:
        decided |= isinstance(item, Exact)
        yield replace(item, why=f"at other draws; at the sample: {tie.why}") if isinstance(item, Exact) else item
    if not decided:
        yield tie


def _is_wrong(lab: Lab, point: ExactPoint) -> bool:
    """Return whether a difference is an error: from a size on that matters, each one under --strict-exact."""
    exact, atol = point.found, lab.case.atol or 0.0
    if atol and point.analytic is not None and point.reference is not None:
        known = np.abs(point.analytic - point.reference)
        if bool((known <= atol).all()):
            return False
    least = 0.0 if lab.case.exact == EXACT_STRICT else EXACT_LEAST
    return exact.verdict == DIFFERENT and exact.size > max(least, lab.case.rtol or 0.0)


def _mismatch(lab: Lab, point: ExactPoint, where: str, cause: str = "unknown") -> Finding:
    exact = point.found
    ratio = None if exact.factor is None else f"{1 + exact.factor:.16g}"
    reference = "what `expected_vjp` declares" if lab.case.expected_vjp else "the derivative"
    said = f"{ratio} times {reference}" if ratio else f"off by {exact.size:.2g} of its terms"
    elements, name = _rows(lab, point)
    if point.reference is not None and not point.reference.any():
        # A forward that is flat has no derivative to be another multiple of.
        cause = "straight-through"
    of = f" of `{name}`" if name else ""
    return Finding(
        "gradient-mismatch",
        f"the gradient{of} is {said} {where}; no rounding of constants explains it",
        "constant-factor" if ratio and cause == "unknown" else cause,
        hint=f"divide the gradient by {ratio}" if ratio else "look for a constant or a term that is not the forward's",
        wrt=name,
        elements=elements,
    )


def _rows(lab: Lab, point: ExactPoint) -> tuple[tuple[Element, ...], str | None]:
    """Return the rows of the input with the largest difference, and its name."""
    if point.analytic is None or point.reference is None:
        return (), lab.slots[0].name if len(lab.slots) == 1 else None
    gaps = np.abs(point.analytic - point.reference)
    slot, _ = locate(lab, int(np.argmax(gaps)))
    rows = []
    for i in worst_first(gaps > 0, point.analytic, point.reference, gaps.size):
        owner, local = locate(lab, int(i))
        if owner is slot:
            analytic, reference = float(point.analytic[i]), float(point.reference[i])
            gap = abs(analytic - reference)
            relative = gap / (abs(reference) or abs(analytic) or 1.0)
            rows.append(
                Element(slot.where(local), float(point.x[i]), analytic, None, None, gap, relative, 0.0, exact=reference)
            )
    return tuple(rows[: lab.show]), slot.name


def _undecided(exact: Exact) -> Finding:
    finding = Finding(
        "inconclusive",
        f"exact arithmetic decides nothing: {exact.why}",
        "exact",
        hint="leave --strict-exact out, or write the op with TensorFlow ops that are known exactly",
        file=exact.file or None,
        line=exact.line or None,
    )
    return hardened(finding)
