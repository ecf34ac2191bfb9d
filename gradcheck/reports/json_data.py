# SPDX-License-Identifier: Apache-2.0
"""Results as JSON-able data."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any


def dumped(data: Any, indent: int | None = None) -> str:
    """Return JSON text in ASCII that no CI runner takes for a command: `##[` and `##vso[` are escaped."""
    text = json.dumps(data, indent=indent, ensure_ascii=True, allow_nan=False)
    return text.replace("##[", "\\u0023#[").replace("##vso[", "\\u0023#vso[")


def to_json(value: Any) -> Any:
    """Return `value` as JSON-able data; not-a-number and infinities become strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, complex):
        return [to_json(value.real), to_json(value.imag)]
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value
