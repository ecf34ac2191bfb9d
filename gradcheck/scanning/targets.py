# SPDX-License-Identifier: Apache-2.0
"""Cases of a Python file that has no spec: `ops.py`, `ops.py::square`, with inputs given or to be guessed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gradcheck.errors import NothingSelected, SpecError, UsageError
from gradcheck.files import shown
from gradcheck.scanning.declarations import parsed
from gradcheck.spec.model import Case
from gradcheck.spec.parse import parse_data
from gradcheck.spec.schema import is_attribute

_INPUT = re.compile(r"(?P<name>[^\W\d]\w*)=(?P<shape>[^:]*)(?::(?P<dtype>\w+))?")


_REGISTERED = "it is registered as the gradient of an op: write a spec for a function that uses this op"


def is_source(target: str) -> bool:
    """Return whether a target is a Python file or an op in one."""
    return target.partition("::")[0].endswith(".py")


def cases_of(target: str, inputs: Iterable[str]) -> list[Case]:
    """Return the cases of a Python file, or the case of the op that is named in it.

    `inputs` are `NAME=SHAPE[:DTYPE]`; what they leave open is guessed when the case runs.
    Raises UsageError, or NothingSelected if nothing in the file can be checked.
    """
    file, _, wanted = target.partition("::")
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"there is no file '{file}'")
    given = dict(input_of(text) for text in inputs)
    if given and not wanted:
        raise UsageError("--input describes the inputs of one op: name it as FILE.py::NAME")
    try:
        module = parsed(path.read_bytes(), str(path.resolve()))
    except (SyntaxError, ValueError) as error:
        place = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise UsageError(f"{file}{place}: not valid Python: {getattr(error, 'msg', None) or error}") from None
    if wanted:
        return [_case(path, wanted, _line_of(path, wanted), given)]
    if not module.ops and not module.registered:
        raise NothingSelected(f"{file} has no custom gradient and no layer; name an op as {file}::NAME")
    of_ops = [replace(_case(path, name, line, {}), skip=_REGISTERED) for name, line in module.registered.items()]
    return [*(_case(path, name, line, {}) for name, line in module.ops.items()), *of_ops]


def input_of(text: str) -> tuple[str, Mapping[str, Any]]:
    """Return the name of an input and what a spec would say of it.

    Raises UsageError unless `text` is `NAME=SHAPE[:DTYPE]`, the shape as `4,3`, `[4, 3]` or nothing for a scalar.
    """
    match = _INPUT.fullmatch(text.strip())
    sizes = [size for size in match["shape"].strip(" ()[]").split(",") if size.strip()] if match else []
    if match is None or not all(size.strip().isdecimal() for size in sizes):
        raise UsageError(f"--input {text}: must be NAME=SHAPE[:DTYPE], for example x=4,3 or ids=5:int32")
    dtype = {"dtype": match["dtype"]} if match["dtype"] else {}
    return match["name"], {"shape": [int(size) for size in sizes], **dtype}


def _line_of(path: Path, name: str) -> int:
    """Return the line at which a name of a file is defined, 1 where it is not seen in the text.

    Raises UsageError for a name that no attribute can have.
    """
    if not is_attribute(name):
        raise UsageError(f"'{path}::{name}': an op is asked for as FILE.py::NAME")
    last = re.escape(name.rpartition(".")[2])
    pattern = re.compile(rf"^\s*(?:async\s+)?(?:def|class)\s+{last}\b|^{last}\s*=")
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if pattern.match(line):
            return number
    return 1


def _case(path: Path, name: str, line: int, given: Mapping[str, Any]) -> Case:
    file = shown(path.resolve())
    body = {"op": name, "inputs": dict(given)}
    safe = name.replace(".", "_")
    try:
        spec = parse_data({"module": str(path.resolve()), "cases": {safe: body}}, file, path.resolve().parent)
    except SpecError as error:
        first = error.problems[0]
        key = first.path.split(".")[-1]
        raise UsageError(f"--input: {key}: {first.message}{'; ' + first.hint if first.hint else ''}") from None
    return replace(spec.cases[0], id=f"{file}::{name}", name=name, line=line, guess=True)
