# SPDX-License-Identifier: Apache-2.0
"""What to write instead, where beginners write something close to a spec."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gradcheck.ways import EXACT, EXACT_AUTO

# The words of each source of numbers, in the order in which people list their values.
_WORDS = {
    "normal": ("mean", "stddev"),
    "uniform": ("low", "high"),
    "log_uniform": ("low", "high"),
    "integers": ("low", "high"),
    "linspace": ("start", "stop"),
}
PARENTHESES = "write a list, `[4, 3]`: YAML knows no parentheses"
_INFINITE = ("inf", "infinity", "+inf", "np.inf", "math.inf", "oo")
_UNKNOWN_SIZES = (None, "None", "none", "null", "?", "N", -1)


def instead(path: Sequence[Any], wanted: Any, value: Any) -> str:
    """Return what to write at a place of a spec, nothing where that is not known.

    `wanted` is the type, or list of types, that the JSON Schema asks for.
    """
    key, parent = (*reversed(path), "", "")[:2]
    if isinstance(value, str) and value.startswith("("):
        return f"write a list, `{key}: [4, 3]`: YAML knows no parentheses"
    if key in ("modes", "tapes", "devices", "dtypes", "variables") and isinstance(value, str) and value:
        return f"write a list: `{key}: [{value}]`"
    if key == "skip" and value is True:
        return 'say why: `skip: "needs a GPU"`'
    if parent == "shape" and value in _UNKNOWN_SIZES:
        return "write a number: other numbers of rows are tried as well"
    if key in _WORDS and isinstance(value, list) and len(value) == len(_WORDS[key]):
        pairs = ", ".join(f"{word}: {number}" for word, number in zip(_WORDS[key], value, strict=True))
        return f"write `{key}: {{{pairs}}}`"
    if isinstance(value, str) and value.lower().lstrip("-") in _INFINITE:
        return f"write `{'-' * value.startswith('-')}.inf`"
    if key == "cases" and isinstance(value, list):
        return "the name of a case is its key: `square: {inputs: {x: {shape: [4]}}}`"
    if wanted == "array" and isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return f"write `{key}: [{value}]`"
    if key == "build" and value is True:
        return "write `build: {}`"
    return ""


def conflicting(both: Mapping[str, Any], case: Mapping[str, Any]) -> str:
    """Return what to say of a case with two references, nothing where it has one; `both` holds the defaults too.

    Exact arithmetic compares with whatever is meant, so that it goes with each of them.
    """
    given = [key for key in ("reference", "surrogate", "expected_vjp") if key in both]
    if both.get("reference") in (EXACT, EXACT_AUTO):
        given.remove("reference")
    whole = all(key in case for key in given)
    if len(given) < 2 or (whole and given == ["surrogate", "expected_vjp"]):
        # The schema says that of the latter two.
        return ""
    return f"`{given[0]}` and `{given[1]}` contradict each other; {'give one' if whole else 'one is in `defaults`'}"


def nearest_file(folder: Path, name: str) -> str:
    """Return the path, from `folder`, of the file that was probably meant; nothing if there is none."""
    wanted = Path(name)
    for place in (folder.parent, folder / wanted.parent.name, *_folders(folder)):
        found = place / wanted.name
        if found.is_file() and found.resolve() != (folder / name).resolve():
            return _from(folder, found)
    beside = sorted(path.name for path in folder.glob("*.py"))
    close = difflib.get_close_matches(wanted.name, beside, n=1)
    return close[0] if close else ""


def _folders(folder: Path) -> list[Path]:
    """Return where else a module may lie: beside the spec, in folders there, and in those one folder up."""
    try:
        inside = [path for place in (folder, folder.parent) for path in place.iterdir() if path.is_dir()]
    except OSError:
        inside = []
    return [folder, *sorted(path for path in inside if not path.name.startswith("."))]


def _from(folder: Path, file: Path) -> str:
    try:
        return file.relative_to(folder).as_posix()
    except ValueError:
        return Path("..", file.relative_to(folder.parent)).as_posix()
