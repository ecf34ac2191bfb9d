# SPDX-License-Identifier: Apache-2.0
"""What happens during a run, in the order in which it happens."""

from __future__ import annotations

from dataclasses import dataclass, field

from gradcheck.results import CaseResult, RunSummary


@dataclass(frozen=True, slots=True)
class RunStarted:
    """Announce how many cases will run."""

    cases: int
    jobs: int


@dataclass(frozen=True, slots=True)
class CaseStarted:
    """Announce that a case was given to a worker."""

    id: str


@dataclass(frozen=True, slots=True)
class CaseProgress:
    """Tell which phase a running case is in."""

    id: str
    phase: str


@dataclass(frozen=True, slots=True)
class CaseFinished:
    """Carry the result of a case."""

    result: CaseResult


@dataclass(frozen=True, slots=True)
class RunFinished:
    """Close the run with its counts and the environment of the workers."""

    summary: RunSummary
    environment: dict[str, object] = field(default_factory=dict)


Event = RunStarted | CaseStarted | CaseProgress | CaseFinished | RunFinished
