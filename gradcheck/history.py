# SPDX-License-Identifier: Apache-2.0
"""What earlier runs in this folder found: which cases did not pass, and how long each took."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradcheck.files import put_in_place, read_regular
from gradcheck.results import ERRORED, FAILED, SKIPPED, CaseResult

FOLDER = ".gradcheck_cache"
_FILE = "history.json"
_IGNORE = "# Made by gradcheck.\n*\n"
# A record takes about 100 bytes, so that this is room for 300,000 cases.
_LARGEST = 32 * 2**20
# Another run holds the lock for milliseconds; who holds it longer is not waited for.
_PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True)
class Record:
    """Hold how a case ended last time and its duration in seconds."""

    status: str
    duration_s: float


def read(folder: Path) -> dict[str, Record]:
    """Return the records by case id; a record that cannot be read is left out, and so is a file that cannot."""
    try:
        cases = json.loads(read_regular(folder / _FILE, _LARGEST))["cases"].items()
    # A deep file is a RecursionError; a file of another shape one of the last three.
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return {}
    return {key: record for key, value in cases if (record := _record(value)) is not None}


def _record(value: Any) -> Record | None:
    """Return a record as it was read, None if it is none."""
    try:
        status, duration = value["status"], float(value["duration_s"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return Record(status, duration) if isinstance(status, str) and math.isfinite(duration) else None


def failed(records: Mapping[str, Record]) -> set[str]:
    """Return the ids of the cases that did not pass."""
    return {key for key, record in records.items() if record.status in (FAILED, ERRORED)}


def add(folder: Path, results: Iterable[CaseResult]) -> None:
    """Record `results` beside what other runs recorded; a folder that cannot be written to is no error."""
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
        if not os.path.lexists(folder / ".gitignore"):
            put_in_place(folder / ".gitignore", _IGNORE)
        with _locked(folder):
            records = read(folder)
            for result in results:
                if result.status != SKIPPED:
                    records[result.id] = Record(result.status, result.duration_s)
            cases = {k: {"status": r.status, "duration_s": round(r.duration_s, 3)} for k, r in sorted(records.items())}
            put_in_place(folder / _FILE, json.dumps({"cases": cases}, indent=0))


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other runs in this folder from writing at the same time, where the system has such locks.

    Raises OSError where the lock is a link or a pipe, or stays in other hands.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder / ".lock", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    try:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        yield
    finally:
        os.close(handle)
