# SPDX-License-Identifier: Apache-2.0
"""The JSON Schema of the JSON report (`gradcheck schema --report`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradcheck.findings import CATALOGUE
from gradcheck.reports.report_keys import CASE, ELEMENT, FINDING, REPORT
from gradcheck.results import INTERRUPTED, TERMINATED

_TEXT = {"type": "string"}
_OPTIONAL_TEXT = {"type": ["string", "null"]}
_COUNT = {"type": "integer", "minimum": 0}
_NUMBER = {"anyOf": [{"type": "number"}, {"enum": ["nan", "inf", "-inf"]}]}
_VALUE = {"anyOf": [_NUMBER, {"type": "null"}, {"type": "array", "items": _NUMBER}, {"type": "string"}]}


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": {**required, **optional}}


def _described(schema: dict[str, Any], words: Mapping[str, str]) -> dict[str, Any]:
    """Return the schema of an object with what each of its keys means."""
    told = {key: {**value, "description": words[key]} for key, value in schema["properties"].items()}
    return {**schema, "properties": told}


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


_ELEMENT = _described(
    _object(
        {
            "index": _list(_COUNT),
            "input": _VALUE,
            "analytic": _VALUE,
            "autodiff": _VALUE,
            "finite_difference": _VALUE,
            "abs_error": _NUMBER,
            "rel_error": _NUMBER,
            "tolerance": _NUMBER,
        },
        modes={"type": "object", "additionalProperties": _VALUE},
        upstream=_VALUE,
        slope=_VALUE,
        exact=_VALUE,
    ),
    ELEMENT,
)

_FINDING = _described(
    _object(
        {
            "code": {"enum": list(CATALOGUE)},
            "cause": _OPTIONAL_TEXT,
            "level": {"enum": ["error", "warning"]},
            "message": _TEXT,
            "hint": _OPTIONAL_TEXT,
            "wrt": _OPTIONAL_TEXT,
            "mode": _OPTIONAL_TEXT,
            "tape": _OPTIONAL_TEXT,
            "device": _OPTIONAL_TEXT,
            "dtype": _OPTIONAL_TEXT,
            "elements": _list(_ELEMENT),
        },
        modes=_list(_TEXT),
        traceback=_OPTIONAL_TEXT,
        wrong=_COUNT,
        fix=_TEXT,
        counterexample={
            "type": "object",
            "additionalProperties": _object({"values": {}, "dtype": _TEXT}),
        },
        file=_OPTIONAL_TEXT,
        line={"type": ["integer", "null"]},
        source={
            "anyOf": [
                {"type": "null"},
                _object({"file": _TEXT, "line": {"type": "integer"}, "function": _TEXT, "text": _TEXT}),
            ]
        },
    ),
    FINDING,
)

_COMPARISON = _object(
    {
        "check": _TEXT,
        "wrt": _TEXT,
        "mode": _TEXT,
        "tape": _OPTIONAL_TEXT,
        "device": _TEXT,
        "dtype": _TEXT,
        "ok": {"type": "boolean"},
        "elements": _COUNT,
        "max_abs_error": _NUMBER,
        "max_rel_error": _NUMBER,
        "tolerance": _NUMBER,
    }
)

_REACH = _object(
    {"sides": _COUNT, "reached": _COUNT},
    unreached=_list(
        _object({"file": _TEXT, "line": _COUNT, "op": _TEXT, "side": {"type": "boolean"}, "why": _TEXT}),
    ),
    only_in_grad=_list(_TEXT),
)

_EXACT = _object(
    {"verdict": {"enum": ["identical", "rounded", "different", "open"]}, "digits": _COUNT, "size": _NUMBER},
    why=_TEXT,
    op=_TEXT,
    file=_TEXT,
    line=_COUNT,
    factor={"type": ["number", "null"]},
    points=_COUNT,
)

_CASE = _described(
    _object(
        {
            "id": _TEXT,
            "spec": _TEXT,
            "line": {"type": "integer", "minimum": 1},
            "case": _TEXT,
            "status": {"enum": ["passed", "failed", "errored", "skipped"]},
            "duration_s": {"type": "number", "minimum": 0},
            "phases_s": {"type": "object", "additionalProperties": {"type": "number"}},
            "seed": _COUNT,
            "coverage": {"enum": ["full", "directional"]},
            "max_abs_error": _NUMBER,
            "max_rel_error": _NUMBER,
            "elements": _COUNT,
            "inconclusive": _COUNT,
            "comparisons": _list(_COMPARISON),
            "findings": _list(_FINDING),
        },
        reference=_TEXT,
        expected=_list(_TEXT),
        missing=_list(_TEXT),
        reason=_OPTIONAL_TEXT,
        notes=_list(_TEXT),
        skipped_checks=_list(_object({"name": _TEXT, "reason": _TEXT})),
        exemptions=_list(_object({"reason": _TEXT, "check": _TEXT, "elements": _COUNT})),
        conditions=_REACH,
        cost=_list(
            _object(
                {"way": _TEXT, "rows": _COUNT, "forward_s": _NUMBER, "gradient_s": _NUMBER, "autodiff_s": _NUMBER},
                gradient_bytes={"type": ["integer", "null"]},
                autodiff_bytes={"type": ["integer", "null"]},
            )
        ),
        exact={"anyOf": [{"type": "null"}, _EXACT]},
        output=_TEXT,
        draws={"type": "boolean"},
        expect_line=_COUNT,
        saved={"type": ["object", "null"]},
        guessed={"type": ["object", "null"]},
        rerun=_TEXT,
    ),
    CASE,
)

_SUMMARY = _object(
    {
        **dict.fromkeys(("cases", "passed", "failed", "errored", "skipped", "warnings"), _COUNT),
        "duration_s": {"type": "number", "minimum": 0},
        "stop_reason": {"enum": ["completed", "fail-fast", INTERRUPTED, TERMINATED]},
    },
    faults=_COUNT,
    not_run=_COUNT,
    conditions=_REACH,
    exact={"type": "object", "additionalProperties": _COUNT},
)

REPORT_SCHEMA: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "gradcheck report",
    **_described(
        _object(
            {
                "schema_version": {"const": 1},
                "gradcheck": _TEXT,
                "environment": {"type": "object"},
                "options": {"type": "object"},
                "summary": _SUMMARY,
                "cases": _list(_CASE),
            }
        ),
        REPORT,
    ),
}
