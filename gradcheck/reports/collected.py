# SPDX-License-Identifier: Apache-2.0
"""What reports that are written at the end of a run collect while it goes on."""

from __future__ import annotations

from gradcheck.events import CaseFinished, Event, RunFinished
from gradcheck.results import CaseResult


class Collected:
    """Collect the results of cases, and how the run finished."""

    def __init__(self) -> None:
        self.cases: list[CaseResult] = []
        self.finished: RunFinished | None = None

    def handle(self, event: Event) -> None:
        """Take in an event."""
        if isinstance(event, CaseFinished):
            self.cases.append(event.result)
        elif isinstance(event, RunFinished):
            self.finished = event
