# SPDX-License-Identifier: Apache-2.0
"""What the checks find at one sample in one dtype, and the case's result made of all of these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gradcheck.results import Comparison, Cost, Exact, Exempted, Finding, Note, Profile, Reach, Skipped


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold what was compared at one sample: how many elements, how far they were off, and against what."""

    coverage: str = ""
    reference: str = ""
    elements: int = 0
    inconclusive: int = 0
    max_abs_error: float = 0.0
    max_rel_error: float = 0.0
    profiles: tuple[Profile, ...] = ()
    draws: bool = False


@dataclass(slots=True)
class Report:
    """Collect what the checks find at one sample in one dtype; no other sample or dtype is known here."""

    findings: list[Finding] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    exempted: list[Exempted] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    reached: list[Reach] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    exact: list[Exact] = field(default_factory=list)
    facts: Facts = field(default_factory=Facts)

    def add(self, item: Finding | Comparison | Skipped | Exempted | Reach | Note | Cost | Exact) -> None:
        """Keep what a check yields; the same finding twice counts once."""
        if isinstance(item, Finding):
            if not any(_same(item, known) for known in self.findings):
                self.findings.append(item)
        elif isinstance(item, Comparison):
            self.comparisons.append(item)
        elif isinstance(item, Skipped):
            self.skipped.append(item)
        elif isinstance(item, Cost):
            self.costs.append(item)
        elif isinstance(item, Exact):
            self.exact.append(item)
        elif isinstance(item, Note):
            self.notes.append(item.text)
        elif isinstance(item, Reach):
            self.reached.append(item)
        else:
            self.exempted.append(item)

    def has_error(self, codes: Iterable[str] | None = None) -> bool:
        """Return whether an error was found, of one of `codes` if these are given; a warning is none."""
        wanted = None if codes is None else set(codes)
        return any(f.level == "error" and (wanted is None or f.code in wanted) for f in self.findings)


def merged(reports: Iterable[Report]) -> Mapping[str, Any]:
    """Return the fields of a case's result that the reports of all samples and dtypes add up to."""
    reports = list(reports)
    whole = Report()
    for report in reports:
        for finding in report.findings:
            whole.add(finding)
    facts = [report.facts for report in reports]
    return {
        "findings": tuple(whole.findings),
        "comparisons": tuple(c for report in reports for c in report.comparisons),
        "skipped_checks": tuple(dict.fromkeys(s for report in reports for s in report.skipped)),
        "exemptions": _counted(e for report in reports for e in report.exempted),
        "conditions": _reached(r for report in reports for r in report.reached),
        "cost": tuple(cost for report in reports for cost in report.costs),
        "exact": _proved(e for report in reports for e in report.exact),
        "notes": tuple(dict.fromkeys(note for report in reports for note in report.notes)),
        "coverage": next((f.coverage for f in reversed(facts) if f.coverage), "full"),
        "reference": next((f.reference for f in reversed(facts) if f.reference), ""),
        "elements": sum(f.elements for f in facts),
        "inconclusive": sum(f.inconclusive for f in facts),
        "max_abs_error": max((f.max_abs_error for f in facts), default=0.0),
        "max_rel_error": max((f.max_rel_error for f in facts), default=0.0),
        "draws": any(f.draws for f in facts),
        "profiles": next((f.profiles for f in facts if f.profiles), ()),
    }


def _reached(found: Iterable[Reach]) -> Reach:
    """Return the conditions of all samples and dtypes together: a side that one of them reached is reached."""
    found = list(found)
    if not found:
        return Reach()
    most = max(found, key=lambda reach: reach.sides)
    missed = tuple(side for side in most.unreached if all(side in reach.unreached for reach in found))
    only = tuple(dict.fromkeys(place for reach in found for place in reach.only_in_grad))
    return Reach(most.sides, most.sides - len(missed), missed, only)


def _proved(found: Iterable[Exact]) -> Exact | None:
    """Return what exact arithmetic says at all points: a difference anywhere, else what is open anywhere."""
    found = list(found)
    if not found:
        return None
    worst = max(found, key=lambda exact: (exact.rank, exact.size, -exact.digits))
    return replace(worst, points=sum(exact.points for exact in found))


def _same(a: Finding, b: Finding) -> bool:
    return (a.code, a.cause, a.wrt, a.mode, a.tape, a.dtype) == (b.code, b.cause, b.wrt, b.mode, b.tape, b.dtype)


def _counted(exempted: Iterable[Exempted]) -> tuple[Exempted, ...]:
    """Return one entry for each reason and check, with the elements of all of them."""
    counts: dict[tuple[str, str], int] = {}
    for item in exempted:
        key = item.reason, item.check
        counts[key] = counts.get(key, 0) + item.elements
    return tuple(Exempted(reason, check, count) for (reason, check), count in counts.items())
