"""What earlier runs in this folder found: which cases did not pass, and how long each took."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gradcheck.files import write_whole
from gradcheck.results import ERRORED, FAILED, SKIPPED, CaseResult

FOLDER = ".gradcheck_cache"
_FILE = "history.json"
_IGNORE = "# Made by gradcheck.\n*\n"


@dataclass(frozen=True, slots=True)
class Record:
    """Hold how a case ended last time and its duration in seconds."""

    status: str
    duration_s: float


def read(folder: Path) -> dict[str, Record]:
    """Return the records by case id; nothing where there is no history or it cannot be read."""
    try:
        data = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        return {
            str(key): Record(str(value["status"]), float(value["duration_s"])) for key, value in data["cases"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def failed(records: Mapping[str, Record]) -> set[str]:
    """Return the ids of the cases that did not pass."""
    return {key for key, record in records.items() if record.status in (FAILED, ERRORED)}


def add(folder: Path, results: Iterable[CaseResult]) -> None:
    """Record `results` beside what other runs recorded; a folder that cannot be written to is no error."""
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
        if not (folder / ".gitignore").exists():
            write_whole(folder / ".gitignore", _IGNORE)
        with _locked(folder):
            records = read(folder)
            for result in results:
                if result.status != SKIPPED:
                    records[result.id] = Record(result.status, result.duration_s)
            cases = {k: {"status": r.status, "duration_s": round(r.duration_s, 3)} for k, r in sorted(records.items())}
            write_whole(folder / _FILE, json.dumps({"cases": cases}, indent=0))


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[IO[Any] | None]:
    """Keep other runs in this folder from writing at the same time, where the system has such locks."""
    with (folder / ".lock").open("w") as file:
        with contextlib.suppress(ImportError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield file
