# SPDX-License-Identifier: Apache-2.0
"""What the functions of the user's code take: names of arguments, counts of upstreams, `variables`."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Any

# The parameters of plain functions by their code: a grad_fn is another function in every call.
_known: dict[Any, list[inspect.Parameter]] = {}


def argument_names(function: Any, args: Any) -> list[str]:
    """Return one name for each flat argument: `x`, `params.w`, `*xs[1]`."""
    parameters = _parameters(function) or []
    names: list[str] = []
    for i, value in enumerate(args):
        plain = i < len(parameters) and parameters[i].kind is not inspect.Parameter.VAR_POSITIONAL
        if plain:
            name = parameters[i].name
        else:
            rest = [p.name for p in parameters if p.kind is inspect.Parameter.VAR_POSITIONAL]
            name = f"{rest[0]}[{i - len(parameters) + 1}]" if rest else f"argument {i}"
        names.extend(nested_names(name, value))
    return names


def nested_names(name: str, value: Any) -> list[str]:
    """Return a path for each leaf of a nested structure, in the order of tf.nest."""
    if isinstance(value, dict):
        return [n for key in sorted(value) for n in nested_names(f"{name}.{key}", value[key])]
    if isinstance(value, (list, tuple)):
        return [n for i, item in enumerate(value) for n in nested_names(f"{name}[{i}]", item)]
    return [name]


def positional_count(grad_fn: Callable[..., Any]) -> tuple[int, float] | None:
    """Return how many upstreams a grad_fn takes, at least and at most; None if that is not known."""
    parameters = _parameters(grad_fn)
    if parameters is None:
        return None
    plain = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.name != "variables"]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return len([p for p in plain if p.default is p.empty]), float("inf")
    return len([p for p in plain if p.default is p.empty]), len(plain)


def takes_variables(grad_fn: Callable[..., Any]) -> bool:
    """Return whether TensorFlow will pass `variables`: it looks at the outermost function only."""
    parameters = _parameters(grad_fn, follow_wrapped=False) or []
    return any(
        p.kind is p.VAR_KEYWORD or (p.name == "variables" and p.kind is not p.VAR_POSITIONAL) for p in parameters
    )


def _is_plain(function: Any) -> bool:
    """Return whether a function is no wrapper that shows another signature than its code has."""
    return isinstance(function, types.FunctionType) and not vars(function)


def _parameters(function: Any, follow_wrapped: bool = True) -> list[inspect.Parameter] | None:
    """Return the parameters of a function, None if Python cannot tell."""
    key = None
    if _is_plain(function):
        key = (function.__code__, len(function.__defaults__ or ()), *(function.__kwdefaults__ or ()))
        if key in _known:
            return _known[key]
    try:
        listed = inspect.signature(function, follow_wrapped=follow_wrapped).parameters.values()
    except (TypeError, ValueError):
        return None
    # Whether there is a default counts, not which: it may be a tensor, and large.
    parameters = [p if p.default is p.empty else p.replace(default=None) for p in listed]
    if key is not None:
        _known[key] = parameters
    return parameters
