# SPDX-License-Identifier: Apache-2.0
"""Whether the `build` of a case fits the parameters of the class or function that is called with it."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

# What a built thing may be called with beside its own parameters: Keras hands the rest on.
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
# Values that stand in a message for an argument of that name.
_USUAL = {"units": 3, "filters": 4, "kernel_size": 3, "rate": 0.5, "axis": -1, "num_heads": 2, "key_dim": 4}


def misfit(name: str, called: Any, build: Mapping[str, Any] | None) -> tuple[str, str] | None:
    """Return what is wrong with `build` and what to type, None if nothing is."""
    try:
        parameters = inspect.signature(called).parameters
    except (TypeError, ValueError):
        return None
    given = dict(build or {})
    named = {key: p for key, p in parameters.items() if p.kind not in _VARIADIC}
    lacking = [key for key, p in named.items() if p.default is p.empty and key not in given]
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    unknown = [key for key in given if key not in named]
    for key in unknown:
        close = difflib.get_close_matches(key, [*lacking, *named], n=1)
        if close and (lacking or not open_ended):
            return f"`{name}` has no argument `{key}`", f"did you mean `build: {{{close[0]}: {given[key]!r}}}`?"
    if unknown and not open_ended:
        takes = ", ".join(named) or "none"
        return f"`{name}` has no argument `{unknown[0]}`", f"its arguments are: {takes}"
    if lacking:
        every = ", ".join(f"{key}: {_usual(key)}" for key in [*given, *lacking] if key in named)
        listed = ", ".join(f"`{key}`" for key in lacking)
        return f"`{name}` needs {listed}", f"add `build: {{{every}}}`, with your own values"
    return None


def _usual(key: str) -> Any:
    return _USUAL.get(key, "...")
