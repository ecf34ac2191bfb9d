# SPDX-License-Identifier: Apache-2.0
"""Beside the saved numbers of each failed case, a spec that checks exactly them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from gradcheck.events import CaseFinished, Event
from gradcheck.files import write_whole
from gradcheck.spec.model import Case
from gradcheck.spec.write import reproduction


class FailureSpecs:
    """Write `spec.yaml` into the folder of each failed case; `written` lists them."""

    def __init__(self, cases: Iterable[Case]) -> None:
        self.cases = {case.id: case for case in cases}
        self.written: list[Path] = []

    def handle(self, event: Event) -> None:
        """Write the spec of a case that has just failed.

        Raises OSError.
        """
        if not isinstance(event, CaseFinished) or event.result.saved is None:
            return
        saved = event.result.saved
        folder = Path(saved.folder)
        case = self.cases[event.result.id]
        guess = event.result.guessed
        if guess is not None:
            case = replace(case, arguments={**guess.arguments, **case.arguments}, build=guess.build or case.build)
        text = reproduction(case, folder, saved.inputs, saved.upstream, saved.dtype)
        write_whole(folder / "spec.yaml", text)
        self.written.append(folder / "spec.yaml")
