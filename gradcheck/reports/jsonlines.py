# SPDX-License-Identifier: Apache-2.0
"""One JSON object a line while the run goes on, for programs that follow it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from gradcheck.events import CaseFinished, CaseProgress, CaseStarted, Event, RunFinished, RunStarted
from gradcheck.reports.json_data import dumped, to_json
from gradcheck.reports.jsonfile import case_json
from gradcheck.results import SCHEMA_VERSION
from gradcheck.version import VERSION


class JsonLines:
    """Write each event as it comes."""

    def __init__(self, file: IO[str], options: Mapping[str, Any]) -> None:
        self.file, self.options = file, options

    def handle(self, event: Event) -> None:
        """Write an event and flush, so that a reader sees it now."""
        self.file.write(dumped(self._record(event)) + "\n")
        self.file.flush()

    def _record(self, event: Event) -> dict[str, Any]:
        match event:
            case RunStarted():
                head = {"schema_version": SCHEMA_VERSION, "gradcheck": VERSION, "options": to_json(self.options)}
                return {"event": "run-started", "cases": event.cases, "jobs": event.jobs, **head}
            case CaseStarted():
                return {"event": "case-started", "id": event.id}
            case CaseProgress():
                return {"event": "case-progress", "id": event.id, "phase": event.phase}
            case CaseFinished():
                return {"event": "case-finished", "case": case_json(event.result)}
            case RunFinished():
                summary = to_json(event.summary)
                return {"event": "run-finished", "summary": summary, "environment": to_json(event.environment)}
