# SPDX-License-Identifier: Apache-2.0
"""Specs of recorded calls: one per module, the arrays beside it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from gradcheck.files import shown, write_whole
from gradcheck.recording.collected import RecordedCall, RecordedSite
from gradcheck.spec.model import Case
from gradcheck.spec.parse import parse
from gradcheck.ways import MODES

ARRAYS = "arrays"


@dataclass(frozen=True, slots=True)
class PlannedCase:
    """Name the case of one recorded call, the `number`-th of its site."""

    name: str
    site: RecordedSite
    number: int
    call: RecordedCall


@dataclass(frozen=True, slots=True)
class PlannedSpec:
    """Hold the cases of one module that go into one file."""

    file: Path
    module: str
    cases: tuple[PlannedCase, ...]

    def id_of(self, case: PlannedCase) -> str:
        """Return the id under which a run knows a case of this spec."""
        return f"{shown(self.file)}::{case.name}"


def planned(sites: Iterable[RecordedSite], folder: Path) -> list[PlannedSpec]:
    """Return the specs of the recorded calls that a spec can hold, one per module."""
    by_module: dict[str, list[RecordedSite]] = {}
    for site in sites:
        if site.recorded and site.module is not None and not site.own:
            by_module.setdefault(_module(site, folder), []).append(site)
    taken: set[str] = set()
    specs = []
    for module, members in by_module.items():
        cases = [
            PlannedCase(_case_name(site, number), site, number, call)
            for site in members
            for number, call in enumerate(site.recorded)
        ]
        specs.append(PlannedSpec(folder / f"{_file_name(module, taken)}.yaml", module, tuple(cases)))
    return specs


def write_specs(specs: Iterable[PlannedSpec], skips: Mapping[str, str], command: str, modes: tuple[str, ...]) -> None:
    """Write specs with their arrays; `skips` are the reasons for which cases, by id, are to be skipped.

    Raises OSError.
    """
    for spec in specs:
        cases = {}
        for case in spec.cases:
            body = {"op": case.site.op, **_copied(case.call, spec.file.parent, f"{spec.file.stem}-{case.name}")}
            skip = skips.get(spec.id_of(case))
            cases[case.name] = {**body, "skip": skip} if skip else body
        defaults = {} if modes == MODES else {"defaults": {"modes": list(modes)}}
        data = {"module": spec.module, **defaults, "cases": cases}
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
        write_whole(spec.file, f"# Written by `gradcheck record` from: {command}\n{text}")


def read_cases(specs: Iterable[PlannedSpec]) -> list[Case]:
    """Return the cases of written specs, as recorded ones.

    Raises SpecError.
    """
    return [replace(case, recorded=True) for spec in specs for case in parse(spec.file, shown(spec.file)).cases]


def _case_name(site: RecordedSite, number: int) -> str:
    name = (site.op or "op").replace(".", "_")
    return name if number == 0 else f"{name}_{number + 1}"


def _module(site: RecordedSite, folder: Path) -> str:
    """Return what a spec in `folder` calls the module: an installed one by its name, others by their file."""
    assert site.module is not None
    if re.search(r"[/\\](site|dist)-packages[/\\]", site.file):
        return site.module
    return Path(os.path.relpath(site.file, folder)).as_posix()


def _file_name(module: str, taken: set[str]) -> str:
    stem = Path(module).stem if module.endswith(".py") else module.replace(".", "_")
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}_{number}"
    taken.add(name)
    return name


def _copied(call: RecordedCall, folder: Path, prefix: str) -> dict[str, Any]:
    """Return what a spec says of a call, its arrays copied beside the spec."""
    (folder / ARRAYS).mkdir(parents=True, exist_ok=True)

    def copied(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: _moved(item) if key == "file" else copied(item) for key, item in value.items()}
        return [copied(item) for item in value] if isinstance(value, list) else value

    def _moved(file: str) -> str:
        target = f"{ARRAYS}/{prefix}-{file}"
        shutil.copyfile(call.folder / file, folder / target)
        return target

    body = {"inputs": copied(call.body["inputs"])}
    return {**body, "arguments": call.body["arguments"]} if call.body["arguments"] else body
