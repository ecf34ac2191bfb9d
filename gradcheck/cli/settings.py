# SPDX-License-Identifier: Apache-2.0
"""What holds without an option: GRADCHECK_* variables, then `[tool.gradcheck]` of the project's pyproject.toml."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gradcheck.errors import UsageError
from gradcheck.files import project_root
from gradcheck.ways import ALL, EVERY_MODE

PREFIX, TABLE = "GRADCHECK_", "tool.gradcheck"
# The settings that each command takes, under the names of its parameters.
OPTIONS: Mapping[str, Sequence[str]] = {
    "run": ("paths", "jobs", "modes", "timeout", "strict", "exclude"),
    "watch": ("paths", "jobs", "modes", "timeout", "strict", "exclude"),
    "list": ("paths", "exclude"),
    "validate": ("paths", "exclude"),
}
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


def defaults(environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return, for each command, the values of options that are not given.

    Raises UsageError for a setting that is not known or has another form.
    """
    known = {**_of_project(), **_of_environment(environment)}
    return {command: {name: known[name] for name in names if name in known} for command, names in OPTIONS.items()}


def _of_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, form in _FORMS.items():
        text = environment.get(PREFIX + name.upper())
        if text is not None and text.strip():
            separator = os.pathsep if name in ("paths", "exclude") else ","
            value: Any = text
            if name in _LISTS:
                value = [part.strip() for part in text.split(separator) if part.strip()]
            found[name] = form(PREFIX + name.upper(), value)
    return found


def _of_project() -> dict[str, Any]:
    try:
        root = project_root(os.getcwd())
    except OSError:
        # The current folder is gone, which the command says itself.
        return {}
    file = None if root is None else Path(root, "pyproject.toml")
    if file is None or not file.is_file():
        return {}
    table = _table(file)
    found: dict[str, Any] = {}
    for name, value in table.items():
        where = f"{file}: [{TABLE}] {name}"
        if name not in _FORMS:
            import difflib

            close = difflib.get_close_matches(str(name), _FORMS, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"known: {', '.join(_FORMS)}"
            raise UsageError(f"{where}: there is no such setting; {hint}")
        found[name] = _FORMS[name](where, value)
    if "paths" in found:
        found["paths"] = [os.path.relpath(Path(str(root), path)) for path in found["paths"]]
    return found


def _table(file: Path) -> Mapping[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        with file.open("rb") as stream:
            table = tomllib.load(stream).get("tool", {}).get("gradcheck", {})
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from None
    if not isinstance(table, dict):
        raise UsageError(f"{file}: [{TABLE}] must be a table")
    return table


def _texts(where: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise UsageError(f"{where}: must be a list of texts, is {value!r}")
    return value


def _modes(where: str, value: Any) -> list[str]:
    value = [value] if isinstance(value, str) else value
    for mode in _texts(where, value):
        if mode not in (*EVERY_MODE, ALL):
            raise UsageError(f"{where}: '{mode}' is not one of {', '.join((*EVERY_MODE, ALL))}")
    return list(value)


def _jobs(where: str, value: Any) -> str:
    text = str(value)
    if isinstance(value, bool) or not (text == "auto" or (text.isdecimal() and int(text) > 0)):
        raise UsageError(f"{where}: must be a whole number above 0, or auto; is {value!r}")
    return text


def _seconds(where: str, value: Any) -> float:
    try:
        number = 0.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number <= 1e9:
        raise UsageError(f"{where}: must be a number of seconds above 0, is {value!r}")
    return number


def _flag(where: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word not in (*_YES, *_NO):
        raise UsageError(f"{where}: must be true or false, is {value!r}")
    return word in _YES


_FORMS: Mapping[str, Callable[[str, Any], Any]] = {
    "paths": _texts,
    "jobs": _jobs,
    "modes": _modes,
    "timeout": _seconds,
    "strict": _flag,
    "exclude": _texts,
}
_LISTS = ("paths", "modes", "exclude")
