# SPDX-License-Identifier: Apache-2.0
"""What the processes of a recorded program have left: sites, results of checks, and calls to check apart."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gradcheck.files import shown
from gradcheck.recording.settings import ENDED, SITES, Settings
from gradcheck.recording.storage import CALL, call_folder
from gradcheck.results import CaseResult


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """Hold a call of an op that can be imported: `body` is what a spec says of it, arrays lie in `folder`."""

    folder: Path
    body: dict[str, Any]


@dataclass(slots=True)
class RecordedSite:
    """Hold one custom gradient of the program with all its processes' calls and results."""

    file: str
    line: int
    name: str
    kind: str
    how: str
    helpers: str
    own: bool
    module: str | None
    op: str | None
    calls: int = 0
    signatures: list[str] = field(default_factory=list)
    further: int = 0
    reason: str = ""
    recorded: list[RecordedCall] = field(default_factory=list)
    results: list[CaseResult] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Recording:
    """Hold all that a program has left behind; `started` says that TensorFlow was imported with the recorder."""

    sites: tuple[RecordedSite, ...]
    problems: tuple[str, ...]
    without_xla: int
    started: bool
    unended: bool


def collect(settings: Settings) -> Recording:
    """Read what the processes of a program have left in the folder of the settings."""
    sites: dict[tuple[str, int, str, str], RecordedSite] = {}
    problems: list[str] = []
    without_xla, started, unended = 0, False, False
    for folder in sorted(Path(settings.folder).iterdir()) if os.path.isdir(settings.folder) else ():
        data = _json(folder / SITES)
        if data is None and (folder / ENDED).exists():
            started = True
            problems.append(f"what a process recorded could not be written to {settings.folder}: is the disk full?")
        if data is None:
            continue
        started = True
        unended |= not (folder / ENDED).exists()
        problems += data["problems"]
        without_xla += data["without_xla"]
        for entry in data["sites"]:
            key = entry["file"], entry["line"], entry["name"], entry["helpers"]
            known = sites.setdefault(key, _new(entry))
            _add(known, entry, folder, settings.samples)
    return Recording(tuple(sites.values()), tuple(dict.fromkeys(problems)), without_xla, started, unended)


def _new(entry: dict[str, Any]) -> RecordedSite:
    fields = ("file", "line", "name", "kind", "how", "helpers", "own", "module", "op")
    return RecordedSite(**{name: entry[name] for name in fields})


def _add(site: RecordedSite, entry: dict[str, Any], folder: Path, samples: int) -> None:
    """Add what one process knows of a site; signatures that another process has brought are not kept twice."""
    site.calls += entry["calls"]
    site.further += entry["further"]
    site.reason = site.reason or entry["reason"]
    seen = set(site.signatures)
    fresh = [i for i, signature in enumerate(entry["signatures"]) if signature["words"] not in seen]
    site.signatures += [entry["signatures"][i]["words"] for i in fresh]
    if entry["module"] is not None:
        site.recorded += [call for i in fresh for call in _calls(folder, entry["number"], i, samples)]
    if fresh:
        site.results += _results(folder, entry["number"])


def _calls(folder: Path, site: int, signature: int, samples: int) -> Iterator[RecordedCall]:
    for k in range(samples):
        place = call_folder(folder, site, signature, k)
        body = _json(place / CALL)
        if body is not None:
            yield RecordedCall(place, body)


def _results(folder: Path, site: int) -> Iterator[CaseResult]:
    files = sorted(folder.glob(f"result-{site}-*.pickle"), key=lambda file: int(file.stem.rpartition("-")[2]))
    for file in files:
        try:
            # Written by gradcheck in the folder of this run, which is the user's alone.
            result = pickle.loads(file.read_bytes())
        except (OSError, pickle.UnpicklingError, EOFError, AttributeError):
            continue
        yield replace(result, id=_id(result), spec=shown(result.spec))


def _id(result: CaseResult) -> str:
    return f"{shown(result.spec)}:{result.line}::{result.case}"


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
