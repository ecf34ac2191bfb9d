# SPDX-License-Identifier: Apache-2.0
"""A new op with its spec and test: right as it is, and showing the idioms."""

from __future__ import annotations

import io
import json
import keyword
import token
import tokenize
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template

from gradcheck.errors import UsageError
from gradcheck.files import write_whole

KINDS = (
    *("elementwise", "binary", "reduction", "multi-output", "variable", "layer"),
    *("straight-through", "control-flow", "linear-algebra"),
)
SCHEMA_FILE = "gradcheck.schema.json"


def render(name: str, kind: str, ci: bool = False) -> dict[str, str]:
    """Return the files of a new op: path relative to its folder, and text.

    Raises UsageError if `name` cannot be the name of the op.
    """
    _check_name(name, kind)
    words = {"name": name, "class_name": class_name(name)}
    case = filled_template(f"{kind}.yaml", words).rstrip()
    found = {
        f"ops/{name}.py": filled_template(f"{kind}.py", words),
        f"{name}.yaml": filled_template("spec.yaml", {**words, "case": case}),
        f"test_{name}.py": filled_template("test.py", words),
        SCHEMA_FILE: schema_text(),
    }
    if ci:
        found[".github/workflows/gradcheck.yml"] = _template("github.yml")
    return found


def class_name(name: str) -> str:
    """Return `soft_gate` as `SoftGate`."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_") if part)


def write(folder: Path, texts: Mapping[str, str], force: bool) -> list[Path]:
    """Write files below `folder`; return those written.

    Raises UsageError, before anything is written, if one exists that would change (unless
    `force`), or if a file cannot be written.
    """
    changed = {folder / name: text for name, text in texts.items() if _differs(folder / name, text)}
    there = [path for path in changed if path.exists()]
    if there and not force:
        raise UsageError(f"{there[0]} exists; --force writes over it")
    for path, text in changed.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, text)
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror or error}") from None
    return list(changed)


def _differs(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") != text
    except (OSError, UnicodeDecodeError):
        return True


def _check_name(name: str, kind: str) -> None:
    if keyword.iskeyword(name):
        raise UsageError(f"'{name}' is a word of Python's own; choose another name, for example `{name}_op`")
    if name.startswith("test_"):
        raise UsageError(f"'{name}': pytest would take the op for a test; leave out `test_`")
    if not name.isidentifier():
        raise UsageError(f"'{name}' is no Python name; letters, digits and _ only, for example `soft_gate`")
    if name.startswith("_"):
        raise UsageError(f"'{name}' starts with an underscore; the op of a module is public")
    taken = _names_in(_template(f"{kind}.py").replace("$name", "_").replace("$class_name", "_"))
    if name in taken or class_name(name) in taken:
        raise UsageError(f"'{name}' is a name that the op's own code uses; take another")


def _names_in(source: str) -> set[str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {part.string for part in tokens if part.type == token.NAME}


def schema_text() -> str:
    """Return the JSON Schema of specs, which editors read."""
    from gradcheck.spec.schema import SCHEMA

    return json.dumps(SCHEMA, indent=1) + "\n"


def filled_template(file: str, words: Mapping[str, str]) -> str:
    """Return a template's text with words filled in."""
    return Template(_template(file)).substitute(words)


def _template(file: str) -> str:
    return (files("gradcheck.scaffold") / "templates" / f"{file}.txt").read_text(encoding="utf-8")
