# SPDX-License-Identifier: Apache-2.0
"""Write what was found today into a spec as `expect`, by editing its text: comments and layout stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from gradcheck.errors import UsageError
from gradcheck.files import write_whole
from gradcheck.spec.nodes import read_document


@dataclass(frozen=True, slots=True)
class _Edit:
    """Replace the characters from `start` to `end` of a text."""

    start: int
    end: int
    text: str


def accept(path: Path, found: Mapping[str, Sequence[str]], reason: str) -> None:
    """Write `expect` with the findings of each case (by name), and a reason where it has none, into a spec.

    Raises UsageError for a case that cannot be edited, and OSError.
    """
    text = path.read_bytes().decode("utf-8-sig")
    write_whole(path, accepted(text, str(path), found, reason))
    # What was written must be a spec as before; nobody edits by hand what a tool has broken.
    read_document(path, str(path))


def accepted(text: str, name: str, found: Mapping[str, Sequence[str]], reason: str) -> str:
    """Return the text of a spec with `expect` in the given cases.

    Raises UsageError for a case that cannot be edited.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    cases = _value(root, "cases")
    edits: list[_Edit] = []
    for case, labels in found.items():
        body = _value(cases, case) if cases is not None else None
        if not isinstance(body, yaml.MappingNode) or text[body.start_mark.index :][:1] in "&*" or not body.value:
            raise UsageError(f"{name}::{case}: `expect` cannot be written there; write it by hand: {_flow(labels)}")
        edits += _edits(text, body, labels, reason)
    for edit in sorted(edits, key=lambda e: -e.start):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def _edits(text: str, body: yaml.MappingNode, labels: Sequence[str], reason: str) -> list[_Edit]:
    keys = {key.value: (key, value) for key, value in body.value}
    lines = {"expect": _flow(labels), "reason": f'"{reason}"'}
    if "expect" in keys:
        value = keys["expect"][1]
        end = value.start_mark.index + len(text[value.start_mark.index : value.end_mark.index].rstrip())
        edits = [_Edit(value.start_mark.index, end, lines.pop("expect"))]
        if not value.flow_style:
            # A block list begins on the line after its key, which now holds the list.
            edits = [_Edit(keys["expect"][0].end_mark.index, end, f": {_flow(labels)}")]
    else:
        edits = []
    if "reason" in keys:
        lines.pop("reason")
    first = body.value[0][0]
    if body.flow_style:
        added = "".join(f"{key}: {value}, " for key, value in lines.items())
        return [*edits, _Edit(first.start_mark.index, first.start_mark.index, added)]
    indent = " " * first.start_mark.column
    ending = "\r\n" if "\r\n" in text else "\n"
    added = "".join(f"{key}: {value}{ending}{indent}" for key, value in lines.items())
    return [*edits, _Edit(first.start_mark.index, first.start_mark.index, added)]


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _flow(labels: Sequence[str]) -> str:
    return f"[{', '.join(labels)}]"
