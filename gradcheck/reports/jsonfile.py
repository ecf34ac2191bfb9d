# SPDX-License-Identifier: Apache-2.0
"""The JSON report: one object with environment, options, summary and cases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradcheck.reports.collected import Collected
from gradcheck.reports.json_data import dumped, to_json
from gradcheck.results import SCHEMA_VERSION, CaseResult
from gradcheck.version import VERSION


class JsonReport(Collected):
    """Collect events; `text` is the report once the run has finished."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.options = options

    def text(self) -> str:
        """Return the report."""
        report = {
            "schema_version": SCHEMA_VERSION,
            "gradcheck": VERSION,
            "environment": to_json(self.finished.environment) if self.finished else {},
            "options": to_json(dict(self.options)),
            "summary": to_json(self.finished.summary) if self.finished else {},
            "cases": [case_json(case) for case in sorted(self.cases, key=lambda c: c.id)],
        }
        return dumped(report, indent=1)


def case_json(case: CaseResult) -> dict[str, Any]:
    """Return a case as JSON-able data, without the arrays that only the HTML report draws."""
    data: dict[str, Any] = to_json(case)
    del data["profiles"]
    return data
