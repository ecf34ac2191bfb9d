# SPDX-License-Identifier: Apache-2.0
"""Where functions and ops are defined in the user's files."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Sequence
from typing import Any

from tensorflow.python.framework.ops import gradient_registry

from gradcheck.backend.tensorflow.keras_types import is_layer, is_own
from gradcheck.text import user_files

# What AutoGraph adds to the names of what it converts.
_CONVERTED = re.compile(r"outer_factory\.<locals>\.|inner_factory\.<locals>\.|\btf__")


def qualified_name(function: Any, default: str) -> str:
    """Return the qualified name of a function as it was written, `default` for an object without one."""
    return _CONVERTED.sub("", getattr(function, "__qualname__", default))


def registered_at(names: Sequence[str]) -> tuple[str, int, str] | None:
    """Return file, line and name of the first function of the user's that is registered under one of `names`."""
    for name in names:
        try:
            function = inspect.unwrap(gradient_registry.lookup(name))
        except LookupError:
            continue
        code = getattr(function, "__code__", None)
        if code is not None and user_files([code.co_filename]):
            return code.co_filename, code.co_firstlineno, code.co_name
    return None


def defined_at(function: Any) -> tuple[str, int, str] | None:
    """Return file, first line and name of the user's code below a function's wrappers, None if there is none."""
    if is_layer(function):
        function = None if is_own(function) else function.call
    function = _unwrapped(function)
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is None or not user_files([code.co_filename]):
        return None
    return code.co_filename, code.co_firstlineno, code.co_name


def _unwrapped(function: Any) -> Any:
    for _ in range(10):
        inner = getattr(function, "python_function", None)
        inner = function.func if isinstance(function, functools.partial) else inner
        if inner is None:
            break
        function = inner
    try:
        return inspect.unwrap(function) if callable(function) else function
    except ValueError:
        return function
