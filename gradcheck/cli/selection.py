"""Which cases of the given paths run, and with what: options that replace what the specs say."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gradcheck import history
from gradcheck.errors import NothingSelected, UsageError
from gradcheck.spec.discover import load, select
from gradcheck.spec.model import Case


def selected(options: Mapping[str, Any]) -> tuple[list[Case], str]:
    """Return the cases to run, and a remark on the choice (empty if there is none).

    Raises SpecError, UsageError or NothingSelected.
    """
    shard = shard_of(options["shard"]) if options["shard"] else None
    cases = select(load(options["paths"]), options["expression"], options["tags"])
    if shard is not None:
        cases = in_shard(cases, *shard)
    remark = ""
    if options["last_failed"]:
        failed = history.failed(history.read(Path(history.FOLDER)))
        chosen = [case for case in cases if case.id in failed]
        remark = f"running the {len(chosen)} of {len(cases)} cases that did not pass last time"
        if not chosen:
            remark = f"no failure of these cases is recorded; running all {len(cases)}"
        cases = chosen or cases
    return [with_options(case, options) for case in cases], remark


def shard_of(text: str) -> tuple[int, int]:
    """Return (index, count) of `I/N`.

    Raises UsageError.
    """
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard {text}: must be I/N with 1 <= I <= N, for example 1/4")
    return int(match[1]), int(match[2])


def in_shard(cases: list[Case], index: int, count: int) -> list[Case]:
    """Return the cases of a shard; a case's shard depends on its id alone, so new specs move nothing.

    Raises NothingSelected if the shard is empty.
    """
    chosen = [case for case in cases if _number(case.id) % count == index - 1]
    if not chosen:
        raise NothingSelected(f"no case falls into shard {index}/{count}")
    return chosen


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def with_options(case: Case, options: Mapping[str, Any]) -> Case:
    """Return the case with what the command line replaces."""
    changes: dict[str, Any] = {}
    for key in ("modes", "devices", "dtypes"):
        if options[key]:
            changes[key] = tuple(dict.fromkeys(options[key]))
    for key in ("seed", "samples", "coverage"):
        if options[key] is not None:
            changes[key] = options[key]
    if options["order"]:
        changes["order"] = int(options["order"])
    for device in options["devices"]:
        if not re.fullmatch(r"all|(cpu|gpu|tpu)(:[0-9]+)?", device):
            raise UsageError(f"--device {device}: not one of cpu, gpu, tpu (with an index if wanted) or all")
    return replace(case, **changes)


def repeated(options: Mapping[str, Any]) -> Iterable[str]:
    """Yield the options that a rerun of one case needs to see the same thing."""
    for key, flag in (("modes", "--mode"), ("devices", "--device"), ("dtypes", "--dtype")):
        for value in options[key]:
            yield flag
            yield value
    for key in ("samples", "coverage", "order"):
        if options[key] is not None:
            yield f"--{key}"
            yield str(options[key])
