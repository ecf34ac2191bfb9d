# SPDX-License-Identifier: Apache-2.0
"""Which cases of the given paths run, and with what: options that replace what the specs say."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gradcheck import history
from gradcheck.errors import NothingSelected, SpecError, UsageError
from gradcheck.scanning.targets import cases_of, is_source
from gradcheck.spec.discover import other_files, read_specs, select
from gradcheck.spec.model import Case, Spec
from gradcheck.ways import EXACT, EXACT_STRICT, expanded


@dataclass(frozen=True, slots=True)
class Selection:
    """Hold the cases to run, remarks on the choice, and the problems of specs that could not be read."""

    cases: list[Case]
    remarks: tuple[str, ...] = ()
    problems: SpecError | None = None


def selected(options: Mapping[str, Any]) -> Selection:
    """Return the cases to run.

    Raises SpecError (unless the run is to continue without these specs), UsageError or NothingSelected.
    """
    sources = [path for path in options["paths"] if is_source(path)]
    if options["inputs"] and not sources:
        raise UsageError("--input describes the inputs of an op without a spec: give FILE.py::NAME")
    rest = [path for path in options["paths"] if path not in sources]
    specs, problems = read_specs(rest, options["exclude"])
    if problems is not None and not options["continue_on_spec_errors"]:
        raise problems
    alone = [case for path in sources for case in cases_of(path, options["inputs"])]
    try:
        cases = select([*specs, Spec("", tuple(alone))], options["expression"], options["tags"])
    except NothingSelected:
        if problems is not None:
            raise problems from None
        raise
    remarks = []
    others = other_files(rest) if options["verbose"] else 0
    if others:
        remarks.append(f"{others} YAML file{'s' * (others != 1)} without `module` or `cases` left out")
    cases, remark = narrowed(cases, options)
    remarks += [remark] if remark else []
    return Selection([with_options(case, options) for case in cases], tuple(remarks), problems)


def narrowed(cases: list[Case], options: Mapping[str, Any]) -> tuple[list[Case], str]:
    """Return the cases of the shard, and of those that failed last time, that are asked for; and a remark on that.

    Raises UsageError for a shard that is none, NothingSelected for an empty one.
    """
    if options["shard"] is not None:
        cases = in_shard(cases, *shard_of(options["shard"]))
    if not options["last_failed"]:
        return cases, ""
    failed = history.failed(history.read(Path(history.FOLDER)))
    chosen = [case for case in cases if case.id in failed]
    if not chosen:
        return cases, f"no failure of these cases is recorded; running all {len(cases)}"
    return chosen, f"running the {len(chosen)} of {len(cases)} cases that did not pass last time"


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
            changes[key] = expanded(options[key]) if key == "modes" else tuple(dict.fromkeys(options[key]))
    for key in ("seed", "samples", "coverage"):
        if options[key] is not None:
            changes[key] = options[key]
    if options.get("cost") and case.cost is None:
        changes["cost"] = {}
    if options.get("strict_exact") or options.get("exact"):
        changes["exact"] = EXACT_STRICT if options["strict_exact"] else case.exact or EXACT
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
    for text in options["inputs"]:
        yield "--input"
        yield text
    for key in ("exact", "strict_exact"):
        if options[key]:
            yield f"--{key}".replace("_", "-")
    for key in ("samples", "coverage", "order"):
        if options[key] is not None:
            yield f"--{key}"
            yield str(options[key])
