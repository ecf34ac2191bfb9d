# SPDX-License-Identifier: Apache-2.0
"""Read YAML 1.2 scalars with PyYAML and keep where every key and value stands."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gradcheck.errors import Problem, SpecError

MAX_BYTES = 16 * 2**20
MAX_VALUES = 500_000
MAX_DEPTH = 64
# Digits of a whole number, which is to fit a float.
LONGEST_NUMBER = 100

KeyPath = tuple[str | int, ...]

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """Resolve plain scalars by the YAML 1.2 core schema, which editors use."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789"),
    (
        "float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        "-+.0123456789",
    ),
    ("null", r"^(?:~|null|Null|NULL|)$", "~nN\0"),
    ("merge", r"^<<$", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))
_Loader.yaml_implicit_resolvers.setdefault("", []).append(("tag:yaml.org,2002:null", re.compile(r"^$")))


_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "seq", "map", "merge")}


@dataclass(frozen=True, slots=True)
class Place:
    """Give a line and a column, both counted from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Document:
    """Hold a spec file as plain data with the place of each key and value."""

    file: str
    lines: list[str]
    data: Any = None
    values: dict[KeyPath, Place] = field(default_factory=dict)
    keys: dict[KeyPath, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, path: KeyPath, message: str, hint: str = "", at_key: bool = False) -> Problem:
        """Return a problem placed at a value, or at its key; the nearest parent if it has no place."""
        first, second = (self.keys, self.values) if at_key else (self.values, self.keys)
        probe = path
        while probe and probe not in first and probe not in second:
            probe = probe[:-1]
        place = first.get(probe) or second.get(probe) or Place(1, 1)
        return self.problem_at(place, dotted(path), message, hint)

    def problem_at(self, place: Place, path: str, message: str, hint: str = "") -> Problem:
        """Return a problem at a place, with its source line."""
        source = self.lines[place.line - 1] if 0 < place.line <= len(self.lines) else ""
        return Problem(self.file, place.line, place.column, path, message, source, hint)


def dotted(path: KeyPath) -> str:
    """Return a path as people write it: `cases.log1pexp.inputs.x.dtype`, `values[2]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else str(part))
    return text


def read_document(path: Path, name: str) -> Document:
    """Read a spec file.

    Raises SpecError if it cannot be read at all; mistakes in its structure (duplicate keys,
    tags, keys that are no strings) are collected in `problems`.
    """
    text = _read_text(path, name)
    # YAML's line ends; splitlines would count form feeds and the like too.
    document = Document(name, re.split("\r\n|[\r\n\x85\u2028\u2029]", text))
    try:
        _check_events(text, document)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        message = f"not valid YAML: {error.problem or error.context}"
        raise SpecError((document.problem_at(place, "", message, _tab_hint(document, place)),)) from None
    except yaml.YAMLError as error:
        raise SpecError((_unreadable(document, text, error),)) from None
    if node is None:
        message = "the file is empty"
        raise SpecError((document.problem_at(Place(1, 1), "", message, "a spec has `module:` and `cases:`"),))
    try:
        values = _expanded(node, {})
    except RecursionError:
        problem = document.problem_at(Place(1, 1), "", f"nested deeper than {MAX_DEPTH} levels by its aliases")
        raise SpecError((problem,)) from None
    if values > MAX_VALUES:
        message = f"more than {MAX_VALUES} values after aliases are expanded"
        raise SpecError((document.problem_at(Place(1, 1), "", message),))
    _Builder(document).run(node)
    return document


def _expanded(node: yaml.Node, known: dict[int, int]) -> int:
    """Return how many values a node has once aliases are written out, each node looked at once."""
    if id(node) not in known:
        # A node inside itself is reported when it is read.
        known[id(node)] = 1
        if isinstance(node, yaml.SequenceNode):
            known[id(node)] = 1 + sum(_expanded(item, known) for item in node.value)
        elif isinstance(node, yaml.MappingNode):
            known[id(node)] = 1 + sum(_expanded(value, known) for _, value in node.value)
    return known[id(node)]


def _check_events(text: str, document: Document) -> None:
    """Refuse a second document, aliases inside what they name, and deep nesting, which the composer would meet."""
    documents = 0
    anchors: list[str | None] = []
    for event in yaml.parse(text, Loader=_Loader):
        problem = None
        if isinstance(event, yaml.CollectionStartEvent):
            anchors.append(event.anchor)
            if len(anchors) > MAX_DEPTH:
                problem = f"nested deeper than {MAX_DEPTH} levels", ""
        elif isinstance(event, yaml.CollectionEndEvent):
            anchors.pop()
        elif isinstance(event, yaml.AliasEvent) and event.anchor in anchors:
            problem = f"`*{event.anchor}` stands inside what it names", "write out what is meant"
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                problem = "a second YAML document begins here", "leave `---` out, or write a file of its own"
        if problem is not None:
            raise SpecError((document.problem_at(_place(event), "", *problem),))


def _unreadable(document: Document, text: str, error: yaml.YAMLError) -> Problem:
    """Return the problem of a text that holds a control character.

    It is looked for here: whether YAML counts bytes or characters up to it depends on how YAML was built.
    """
    found = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if found is None:
        return document.problem_at(Place(1, 1), "", f"not valid YAML: {error}")
    message = f"not valid YAML: the control character U+{ord(found.group()):04X}"
    return document.problem_at(_place_of(text, found.start()), "", message, "leave it out")


def _place_of(text: str, position: int) -> Place:
    """Return the place of a character."""
    return Place(text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position))


def _read_text(path: Path, name: str) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise SpecError((Problem(name, 1, 1, "", f"the file has {size} bytes; at most {MAX_BYTES} are read"),))
        data = path.read_bytes()
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # With one character for each byte.
        place = _place_of(data.decode("latin-1"), error.start)
        utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
        hint = ("it looks like UTF-16; " if utf16 else "") + "save it as UTF-8"
        raise SpecError((Problem(name, place.line, place.column, "", "not UTF-8", hint=hint),)) from None
    except OSError as error:
        raise SpecError((Problem(name, 1, 1, "", f"cannot be read: {error.strerror or error}"),)) from None


def _tab_hint(document: Document, place: Place) -> str:
    near = document.lines[max(0, place.line - 2) : place.line]
    return "YAML does not allow tabs for indentation" if any("\t" in line for line in near) else ""


class _Builder:
    """Turn composed nodes into plain data and note the place of each."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def run(self, root: yaml.Node) -> None:
        self.document.data = self._value(root, ())

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        if len(path) > MAX_DEPTH:
            raise SpecError((self.document.problem(path, f"nested deeper than {MAX_DEPTH} levels"),))
        self.document.values.setdefault(path, _place(node))
        if node.tag not in _TAGS:
            self._complain(path, f"tag '{node.tag}' is not allowed", "specs hold plain data only")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*path, i)) for i, item in enumerate(node.value)]
        return self._scalar(str(node.tag), str(node.value), path)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                merged = {**self._merge(value_node, path), **merged}
                continue
            key = self._key(key_node, path)
            if key is None:
                continue
            here = (*path, key)
            if key in result:
                first = self.document.keys[here].line
                place = _place(key_node)
                message = f"key '{key}' appears twice; the first is in line {first}"
                self.document.problems.append(self.document.problem_at(place, dotted(here), message))
                continue
            for table in (self.document.keys, self.document.values):
                table.pop(here, None)
            self.document.keys[here] = _place(key_node)
            result[key] = self._value(value_node, here)
        return {**merged, **result}

    def _merge(self, node: yaml.Node, path: KeyPath) -> dict[str, Any]:
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for part in nodes:
            if isinstance(part, yaml.MappingNode):
                merged = {**self._mapping(part, path), **merged}
            else:
                self._complain(path, "`<<` takes a mapping or a list of mappings")
        return merged

    def _key(self, node: yaml.Node, path: KeyPath) -> str | None:
        if isinstance(node, yaml.ScalarNode):
            if node.tag == "tag:yaml.org,2002:str":
                return str(node.value)
            message = f"key {node.value or 'null'} is not a string"
            hint = f"write it in quotes: '{node.value}'"
        else:
            message, hint = "a key must be a string", ""
        place = _place(node)
        self.document.problems.append(self.document.problem_at(place, dotted(path), message, hint))
        return None

    def _scalar(self, tag: str, text: str, path: KeyPath) -> Any:
        kind = tag.rsplit(":", 1)[1]
        if kind == "null":
            return None
        if kind == "bool" and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if kind == "int" and len(text) > LONGEST_NUMBER:
            self._complain(path, f"a number of {len(text)} characters is too large: {text[:20]}...")
            return None
        try:
            if kind == "int":
                return int(text, 0 if text[:2] in ("0x", "0o") else 10)
            if kind == "float":
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
            if kind == "bool":
                raise ValueError
        except ValueError:
            self._complain(path, f"'{text[:40]}' is not a {'number' if kind != 'bool' else 'bool'}")
            return None
        return text

    def _complain(self, path: KeyPath, message: str, hint: str = "") -> None:
        self.document.problems.append(self.document.problem(path, message, hint))


def _place(node: Any) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)
