# SPDX-License-Identifier: Apache-2.0
"""The one definition of the spec format: a JSON Schema (draft 7).

Editors read it (`gradcheck schema`) and the reader validates with it, so the two cannot
differ.  What a schema cannot say (low above high) is checked in `parse`.
"""

from __future__ import annotations

import copy
import re
from typing import Any

from gradcheck.findings import CATALOGUE
from gradcheck.spec.keys import CASE_KEYS, FILE_KEYS, INPUT_KEYS
from gradcheck.ways import ALL, EVERY_MODE, TAPES

DTYPES = (
    *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool", "string"),
)
FLOATING = DTYPES[:6]
SOURCES = ("normal", "uniform", "log_uniform", "integers", "linspace", "constant", "values", "file")

# In Python `$` alone would let a last line feed pass.
END = r"$(?!\n)"
NAME = r"^[^\W\d]\w*(\.[^\W\d]\w*)*" + END
DEVICE = r"^(all|(cpu|gpu|tpu)(:[0-9]{1,2})?)" + END
TAG = r"^[\w.-]+" + END
# Each pattern in words, for messages.
PATTERNS = {
    NAME: "a Python name, dotted where nested",
    DEVICE: "cpu, gpu or tpu in small letters, with an index if wanted (cpu:1), or all",
    TAG: "letters, digits, _, . and - only",
}
_number = {"type": "number"}
_positive = {"type": "number", "exclusiveMinimum": 0}
_text = {"type": "string", "minLength": 1}
_attribute = {"type": "string", "pattern": NAME}


def _parameters(**fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "additionalProperties": False}


def _one_of(*words: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(words)}


def _list_of(item: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": 1, **more}


def _exclusive(*groups: tuple[str, ...]) -> dict[str, Any]:
    """Return the dependencies that let only one key of each group stand in a mapping.

    Dependencies are looked at only for keys that are there, so a valid file is read fast.
    """
    others: dict[str, list[str]] = {}
    for group in groups:
        for key in group:
            others.setdefault(key, []).extend(other for other in group if other != key)
    return {key: {"not": {"anyOf": [{"required": [other]} for other in rest]}} for key, rest in others.items()}


_LITERAL = {
    "if": {"type": "array"},
    "then": {"items": {"$ref": "#/definitions/literal"}},
    "else": {"type": ["number", "string", "boolean"]},
}

_DRAWN: dict[str, Any] = {
    "type": "object",
    "properties": {
        "shape": {"type": "array", "maxItems": 32, "items": {"type": "integer", "minimum": 0}},
        "dtype": _one_of(*DTYPES),
        "normal": _parameters(mean=_number, stddev={"type": "number", "minimum": 0}),
        "uniform": _parameters(low=_number, high=_number),
        "log_uniform": _parameters(low=_positive, high=_positive),
        "integers": _parameters(low={"type": "integer"}, high={"type": "integer"}),
        "linspace": _parameters(start=_number, stop=_number),
        "constant": {"type": ["number", "string", "boolean"]},
        "values": {"$ref": "#/definitions/literal"},
        "file": _text,
        "avoid": {"type": "array", "items": _number},
        "margin": {"type": "number", "minimum": 0},
        "differentiate": {"enum": [True, False, "none"]},
        "domain": {"type": "array", "items": _number, "minItems": 2, "maxItems": 2},
        "structure": _one_of("symmetric", "spd", "lower-triangular"),
        "sparse": {"type": "boolean"},
        "ragged": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "items": {
            "if": {"type": "array"},
            "then": {"minItems": 1, "items": {"$ref": "#/definitions/input"}},
            "else": {"type": "object", "minProperties": 1, "additionalProperties": {"$ref": "#/definitions/input"}},
        },
    },
    "additionalProperties": False,
    "minProperties": 1,
    "dependencies": _exclusive(
        SOURCES,
        ("sparse", "ragged"),
        *(("items", other) for other in (*SOURCES, "shape", "dtype", "structure", "sparse", "ragged")),
    ),
    "allOf": [
        {"if": {"anyOf": [{"required": [s]} for s in ("normal", "uniform", "log_uniform", "integers", "linspace")]},
         "then": {"anyOf": [{"required": ["shape"]}, {"required": ["ragged"]}]}},
        {"if": {"required": ["constant"]}, "then": {"required": ["shape"]}},
        {"if": {"not": {"anyOf": [{"required": [s]} for s in ("items", "values", "file")]}},
         "then": {"anyOf": [{"required": ["shape"]}, {"required": ["ragged"]}]}},
    ],
}  # fmt: skip

_expectations = sorted(
    set(CATALOGUE) | {f"{code}/{cause}" for code, info in CATALOGUE.items() for cause in info.causes}
)

_COMMON: dict[str, Any] = {
    "build": {"type": "object"},
    "arguments": {"type": "object"},
    "reference": _attribute,
    "surrogate": _attribute,
    "expected_vjp": _attribute,
    "intended": _list_of(_text, uniqueItems=True),
    # An empty list takes back what `defaults` say.
    "expect": _list_of(_one_of(*_expectations), uniqueItems=True, minItems=0),
    "reason": _text,
    "cost": _parameters(sizes=_list_of({"type": "integer", "minimum": 1, "maximum": 100000000})),
    "strategy": _one_of("mirrored"),
    "expectation": _parameters(
        samples={"type": "integer", "minimum": 2, "maximum": 1000000}, seed={"type": "integer", "minimum": 0}
    ),
    "modes": {
        "if": {"type": "array"},
        "then": _list_of(_one_of(*EVERY_MODE, ALL), uniqueItems=True),
        "else": _one_of(ALL),
    },
    "tapes": _list_of(_one_of(*TAPES), uniqueItems=True),
    "devices": _list_of({"type": "string", "pattern": DEVICE}, uniqueItems=True),
    "dtypes": _list_of(_one_of(*FLOATING), uniqueItems=True),
    "order": {"enum": [1, 2]},
    "samples": {"type": "integer", "minimum": 1, "maximum": 10000},
    "coverage": _one_of("full", "directional", "auto"),
    "variables": {
        "if": {"type": "array"},
        "then": {"items": _text, "minItems": 1, "uniqueItems": True},
        "else": _one_of("all", "none"),
    },
    "dynamic_shapes": {"type": "boolean"},
    "rtol": {"type": "number", "minimum": 0},
    "atol": {"type": "number", "minimum": 0},
    "seed": {"type": "integer", "minimum": 0},
    "timeout": _positive,
    "skip": _text,
    "upstream": _list_of(_text),
    "tags": _list_of({"type": "string", "pattern": TAG}, uniqueItems=True, minItems=0),
}

# That a `reference` is no third one depends on its value: the reader says so.
_CONTRADICTIONS = _exclusive(("surrogate", "expected_vjp"))

SCHEMA: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "gradcheck spec",
    "type": "object",
    "required": ["cases"],
    "additionalProperties": False,
    "properties": {
        "module": _text,
        "defaults": {"type": "object", "properties": _COMMON, "additionalProperties": False,
                     "dependencies": _CONTRADICTIONS},
        "cases": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": r"^[^\s:/\x00-\x1f]+" + END},
            "additionalProperties": {"$ref": "#/definitions/case"},
        },
    },
    "definitions": {
        "case": {
            "type": "object",
            "if": {"not": {"required": ["factory"]}},
            "then": {"required": ["inputs"]},
            "properties": {
                "op": _attribute,
                "inputs": {
                    "type": "object",
                    "propertyNames": {"pattern": r"^[^\W\d]\w*" + END},
                    "additionalProperties": {"$ref": "#/definitions/input"},
                },
                **_COMMON,
                "factory": _attribute,
                "module": _text,
            },
            "additionalProperties": False,
            "dependencies": {**_CONTRADICTIONS, **_exclusive(("factory", "op"), ("factory", "build"))},
        },
        "input": {
            "if": {"type": "object"},
            "then": {"$ref": "#/definitions/drawn"},
            "else": {"$ref": "#/definitions/literal"},
        },
        "literal": _LITERAL,
        "drawn": _DRAWN,
    },
}  # fmt: skip


def described() -> dict[str, Any]:
    """Return the schema with what each key means, its default and an example, as editors show them."""
    whole: dict[str, Any] = copy.deepcopy(SCHEMA)
    definitions = whole["definitions"]
    tables = (
        (whole["properties"], FILE_KEYS),
        (whole["properties"]["defaults"]["properties"], CASE_KEYS),
        (definitions["case"]["properties"], CASE_KEYS),
        (definitions["drawn"]["properties"], INPUT_KEYS),
    )
    for properties, keys in tables:
        for name, schema in properties.items():
            key = keys[name]
            said = f"{key.meaning} Default: {key.default}. Example: {key.example}"
            properties[name] = {**schema, "description": said}
    return whole


def is_attribute(text: str) -> bool:
    """Return whether `text` is a name or dotted names, so that it can be looked up in a module."""
    return re.match(NAME, text) is not None
