# SPDX-License-Identifier: Apache-2.0
"""Fill in what a check leaves open in a finding: level, mode, tape, device and dtype."""

from __future__ import annotations

from dataclasses import replace

from gradcheck.findings import CATALOGUE, ERROR, WARNING
from gradcheck.results import Finding
from gradcheck.ways import Way


def completed(finding: Finding, way: Way | None, dtype: str | None) -> Finding:
    """Return the finding with its level by the catalogue and the way in which it was measured.

    `way` is the first way in which the case runs, in which a check measures that names no other.
    """
    finding = replace(finding, level=level_of(finding), dtype=finding.dtype or dtype)
    return finding if finding.mode is not None or way is None else seen_in(way, finding)


def level_of(finding: Finding) -> str:
    """Return the level of a finding: its own, or that of its code."""
    return finding.level or CATALOGUE[finding.code].level


def seen_in(way: Way, finding: Finding) -> Finding:
    """Return the finding with the way in which it was measured."""
    return replace(finding, mode=way.mode, tape=way.tape, device=way.device)


def hardened(finding: Finding) -> Finding:
    """Return the finding as an error: the case declares that it is one."""
    return replace(finding, level=ERROR)


def softened(finding: Finding) -> Finding:
    """Return the finding as a warning: what was seen is wrong for some ops only."""
    return replace(finding, level=WARNING)
