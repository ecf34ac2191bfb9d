# SPDX-License-Identifier: Apache-2.0
"""Which case of a spec, or which recording, reaches each custom gradient of a source tree."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from gradcheck.errors import UsageError
from gradcheck.files import read_regular, searched, shown
from gradcheck.scanning.declarations import Module, read
from gradcheck.spec.discover import read_specs
from gradcheck.spec.model import Case

RECORDED = "recorded.json"
_LARGEST_RECORD = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Scanned:
    """Name one custom gradient of a tree; `covered` is the id of a case or recording that reaches it, or empty."""

    file: str
    line: int
    name: str
    kind: str
    how: str
    covered: str = ""


@dataclass(frozen=True, slots=True)
class Scan:
    """Hold the custom gradients of a tree, the files that could not be read, and how many were looked at."""

    sites: tuple[Scanned, ...]
    unread: tuple[str, ...]
    files: int

    @property
    def percent(self) -> float:
        """Return how many of 100 custom gradients are covered; 100 where there are none."""
        return 100.0 * sum(bool(site.covered) for site in self.sites) / len(self.sites) if self.sites else 100.0


def scan(paths: Iterable[str], specs: Iterable[str], most_files: int | None = None) -> Scan:
    """Return the custom gradients in files and folders, each with what covers it.

    `specs` are files and folders that are searched for specs and recordings; after `most_files` files no
    further ones are looked at.  Raises UsageError for a path that is not there.
    """
    modules: dict[Path, Module] = {}
    unread: list[str] = []
    count = 0
    for path in islice(python_files(paths), most_files):
        count += 1
        try:
            module = read(path)
        except (OSError, SyntaxError, ValueError) as error:
            unread.append(f"{shown(path)}: {getattr(error, 'msg', None) or error}")
            continue
        if module is not None:
            modules[path] = module
    known = list(dict.fromkeys(specs))
    # A file of the source is no spec.
    places = [place for place in known if os.path.exists(place) and not place.endswith(".py")]
    cases, problems = read_specs(places)
    unread += [f"{problem.file}: {problem.message}" for problem in (problems.problems if problems else ())]
    recorded, reached = _recorded(known), _reached(modules, [case for spec in cases for case in spec.cases])
    sites = tuple(
        Scanned(
            shown(path),
            d.line,
            d.name,
            d.kind,
            d.how,
            reached.get((str(path), d.owner)) or recorded.get((str(path), d.name), ""),
        )
        for path, module in modules.items()
        for d in module.declarations
    )
    return Scan(sites, tuple(unread), count)


def python_files(paths: Iterable[str]) -> Iterator[Path]:
    """Yield the Python files that are given or lie in the given folders, each once.

    Raises UsageError.
    """
    seen: set[Path] = set()
    for text in paths:
        root = Path(text)
        if not root.exists():
            raise UsageError(f"there is no file or folder '{text}'")
        for path in [root] if root.is_file() else _python_files(root):
            whole = path.resolve()
            if whole not in seen:
                seen.add(whole)
                yield whole


def _python_files(root: Path) -> Iterator[Path]:
    yield from (folder / name for folder, names in searched(root) for name in names if name.endswith(".py"))


# (file, name in it) -> what covers it
_Reached = dict[tuple[str, str], str]


def _reached(modules: Mapping[Path, Module], cases: Iterable[Case]) -> _Reached:
    """Return the names that cases reach: their ops, and what these use in the same file or import by name."""
    reached: _Reached = {}
    by_stem: dict[str, list[Path]] = {}
    for path in modules:
        by_stem.setdefault(path.stem if path.stem != "__init__" else path.parent.name, []).append(path)
    for case in cases:
        if case.skip:
            continue
        for path in _files_of(case.module, by_stem):
            _follow(path, (case.factory or case.op).split(".")[0], case.id, modules, by_stem, reached)
    return reached


def _follow(
    path: Path,
    name: str,
    case: str,
    modules: Mapping[Path, Module],
    by_stem: Mapping[str, list[Path]],
    reached: _Reached,
) -> None:
    todo = [(path, name)]
    while todo:
        file, owner = todo.pop()
        if (str(file), owner) in reached or file not in modules:
            continue
        module = modules[file]
        if owner in module.imported and owner not in module.uses:
            todo += _imported(module.imported[owner], by_stem)
            continue
        reached[str(file), owner] = case
        for used in module.uses.get(owner, ()):
            if used in module.uses:
                todo.append((file, used))
            elif used in module.imported:
                todo += _imported(module.imported[used], by_stem)


def _imported(origin: tuple[str, str], by_stem: Mapping[str, list[Path]]) -> list[tuple[Path, str]]:
    module, name = origin
    return [(path, name) for path in by_stem.get(module.rpartition(".")[2], ())]


def _files_of(module: str, by_stem: Mapping[str, list[Path]]) -> list[Path]:
    if module.endswith(".py"):
        return [Path(module).resolve()]
    parts = module.split(".")
    ends = ("/".join(parts) + ".py", "/".join([*parts, "__init__"]) + ".py")
    return [path for path in by_stem.get(parts[-1], ()) if path.as_posix().endswith(ends)]


def _recorded(places: Iterable[str]) -> _Reached:
    """Return the functions, by their qualified names, that recordings below the given places have judged."""
    reached: _Reached = {}
    for file in _recordings(places):
        try:
            data: Any = json.loads(read_regular(file, _LARGEST_RECORD))
            for site in data["sites"]:
                if site["status"] in ("passed", "failed"):
                    where = (file.parent / site["file"]).resolve()
                    reached[str(where), str(site["name"])] = shown(file)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return reached


def _recordings(places: Iterable[str]) -> Iterator[Path]:
    for text in places:
        root = Path(text)
        if root.is_file() and root.name == RECORDED:
            yield root
        elif root.is_dir():
            yield from (folder / RECORDED for folder, names in searched(root) if RECORDED in names)
