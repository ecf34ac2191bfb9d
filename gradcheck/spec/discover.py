# SPDX-License-Identifier: Apache-2.0
"""Find spec files, read them all, and select cases."""

from __future__ import annotations

import difflib
import fnmatch
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from gradcheck.errors import NothingSelected, Problem, SpecError, UsageError
from gradcheck.files import searched
from gradcheck.spec.model import Case, Spec
from gradcheck.spec.nodes import MAX_BYTES
from gradcheck.spec.parse import parse

# Names that a message lists.
SHOWN = 8

MAX_TOKENS = 200
# The file of a saved failure (`--save-failures`): the specs beside it were written by gradcheck.
SAVED_FAILURE = "failure.npz"
_SPEC_KEY = re.compile(rb"""^(?:\xef\xbb\xbf)?(["']?)(?:module|cases)\1[ \t]*:""", re.MULTILINE)
# A spec in braces, as JSON is.
_FLOW_SPEC = re.compile(rb"""\s*\{[^}]*?(["']?)\b(?:module|cases)\1\s*:""")


def find_files(paths: Iterable[str], exclude: Sequence[str] = ()) -> list[tuple[Path, str, str | None]]:
    """Return (file, name, wanted case) for files, folders (searched) and `file::case`.

    Of what is found by searching, paths that match a pattern of `exclude`, or lie in a folder that does, are left out.
    """
    found: list[tuple[Path, str, str | None]] = []
    for text in paths:
        # A path may itself hold two colons.
        name, separator, case = (text, "", "") if _exists(text) else text.rpartition("::")
        name = name or text
        path = Path(name)
        if not text or not _exists(name):
            raise UsageError(f"there is no file or folder '{name}'")
        if separator and (path.is_dir() or not case):
            raise UsageError(f"'{text}': a case is asked for as FILE::CASE")
        if path.is_dir():
            specs = (p for p in _searched(path) if is_spec(p))
            found.extend((p, name, None) for p in specs if not is_excluded(name := _name(p), exclude))
        elif path.is_file():
            found.append((path, _name(path), case or None))
        else:
            raise UsageError(f"'{name}' is neither a file nor a folder")
    unique: dict[tuple[str, str | None], tuple[Path, str, str | None]] = {}
    for entry in found:
        unique.setdefault((entry[1], entry[2]), entry)
    return list(unique.values())


def is_excluded(name: str, patterns: Sequence[str]) -> bool:
    """Return whether a path, or a folder that it lies in, matches one of some patterns (`old`, `specs/old/*`)."""
    parts = name.split("/")
    places = [name, *("/".join(parts[: i + 1]) for i in range(len(parts))), *parts]
    return any(fnmatch.fnmatchcase(place, pattern.rstrip("/")) for pattern in patterns for place in places)


def other_files(paths: Iterable[str]) -> int:
    """Return how many YAML files in the folders among `paths` are no specs."""
    return sum(not is_spec(p) for text in paths if _exists(text) and Path(text).is_dir() for p in _searched(Path(text)))


def is_spec(path: Path) -> bool:
    """Return whether a YAML file has `module` or `cases` at its top: other tools have YAML files too."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES)
    except OSError:
        return True
    return _SPEC_KEY.search(text) is not None or _FLOW_SPEC.match(text) is not None


def _searched(root: Path) -> Iterator[Path]:
    """Yield the YAML files below a folder, sorted by folder; those of saved failures only where there are no others."""
    saved: list[Path] = []
    others = False
    for folder, names in searched(root):
        for name in names:
            if name.endswith((".yaml", ".yml")) and not name.startswith(".") and (folder / name).is_file():
                if SAVED_FAILURE in names and folder != root:
                    saved.append(folder / name)
                else:
                    others = True
                    yield folder / name
    yield from () if others else saved


def _exists(text: str) -> bool:
    try:
        return os.path.exists(text)
    except ValueError:
        return False


def _name(path: Path) -> str:
    try:
        relative = os.path.relpath(path)
    except OSError:
        raise UsageError("the current folder is gone") from None
    return Path(path if relative.startswith("..") else relative).as_posix()


def load(paths: Iterable[str], exclude: Sequence[str] = ()) -> tuple[Spec, ...]:
    """Read all specs.

    Raises SpecError with the problems of all files, UsageError for a path or case that is
    not there.
    """
    specs, error = read_specs(paths, exclude)
    if error is not None:
        raise error
    return specs


def read_specs(paths: Iterable[str], exclude: Sequence[str] = ()) -> tuple[tuple[Spec, ...], SpecError | None]:
    """Return the specs that can be read, and the problems of all others.

    Raises UsageError for a path or case that is not there.
    """
    specs: list[Spec] = []
    problems: list[Problem] = []
    for path, name, wanted in find_files(paths, exclude):
        try:
            spec = parse(path, name)
        except SpecError as error:
            problems.extend(error.problems)
            continue
        if wanted is not None:
            chosen = tuple(case for case in spec.cases if case.name == wanted)
            if not chosen:
                close = difflib.get_close_matches(wanted, [case.name for case in spec.cases], n=1)
                hint = f"; did you mean '{close[0]}'?" if close else ""
                raise UsageError(f"{name} has no case '{wanted}'{hint}")
            spec = replace(spec, cases=chosen)
        specs.append(spec)
    return tuple(specs), SpecError(tuple(problems)) if problems else None


def select(specs: Sequence[Spec], expression: str = "", tags: Iterable[str] = ()) -> list[Case]:
    """Return the cases that match a `-k` expression and have one of `tags` (any, if none given).

    Raises NothingSelected if no case is left.
    """
    matches = compile_expression(expression)
    wanted = set(tags)
    cases: dict[str, Case] = {}
    for spec in specs:
        for case in spec.cases:
            if matches([case.id, *case.tags]) and (not wanted or wanted & set(case.tags)):
                cases.setdefault(case.id, case)
    if not cases:
        raise NothingSelected(f"no case was selected{_selectable(specs, expression, wanted)}")
    return list(cases.values())


def _selectable(specs: Sequence[Spec], expression: str, tags: set[str]) -> str:
    """Return what could have been selected, in the words of the option that selected nothing."""
    every = [case for spec in specs for case in spec.cases]
    if not every:
        return ": there is no spec (a *.yaml or *.yml with `cases`) in what was given"
    known = sorted({tag for case in every for tag in case.tags})
    if tags and not tags & set(known):
        listed = f"the tags are {', '.join(known[:SHOWN])}" if known else "no case has a tag"
        return f": {', '.join(sorted(tags))} is no tag here; {listed}"
    if expression:
        names = list(dict.fromkeys(case.name for case in every))
        close = difflib.get_close_matches(expression, names, n=1)
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        hint = f"did you mean `{close[0]}`?" if close else f"the cases are {', '.join(names[:SHOWN])}{more}"
        return f": `-k {expression}` matches none; {hint}"
    return ""


def compile_expression(text: str) -> Callable[[list[str]], bool]:
    """Return the test for an expression of words with `and`, `or`, `not` and parentheses.

    A word matches if it is part of a case's id or of a tag.  Raises UsageError if the
    expression does not parse.
    """
    if not text.strip():
        return lambda words: True
    tokens = re.findall(r"\(|\)|[^\s()]+", text)
    if len(tokens) > MAX_TOKENS:
        raise UsageError(f"-k: more than {MAX_TOKENS} words and parentheses")
    rest = list(tokens)
    test = _either(rest, text)
    if rest:
        raise UsageError(f"-k '{text}': unexpected '{rest[0]}'")
    return test


def _either(rest: list[str], text: str) -> Callable[[list[str]], bool]:
    first = _both(rest, text)
    if rest[:1] == ["or"]:
        rest.pop(0)
        second = _either(rest, text)
        return lambda words: first(words) or second(words)
    return first


def _both(rest: list[str], text: str) -> Callable[[list[str]], bool]:
    first = _term(rest, text)
    if rest[:1] == ["and"]:
        rest.pop(0)
        second = _both(rest, text)
        return lambda words: first(words) and second(words)
    return first


def _term(rest: list[str], text: str) -> Callable[[list[str]], bool]:
    if not rest or rest[0] in ("and", "or", ")"):
        raise UsageError(f"-k '{text}': a word is missing" + (f" before '{rest[0]}'" if rest else " at the end"))
    token = rest.pop(0)
    if token == "not":
        inner = _term(rest, text)
        return lambda words: not inner(words)
    if token == "(":
        inner = _either(rest, text)
        if not rest or rest.pop(0) != ")":
            raise UsageError(f"-k '{text}': a closing parenthesis is missing")
        return inner
    lowered = token.lower()
    return lambda words: any(lowered in word.lower() for word in words)
