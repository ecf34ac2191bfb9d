# SPDX-License-Identifier: Apache-2.0
"""Where a function under tf.custom_gradient is written, what declares its gradient, and how it can be imported."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Iterator
from typing import Any

from gradcheck.backend.tensorflow.closures import cells_of
from gradcheck.backend.tensorflow.definitions import qualified_name
from gradcheck.calls import Site
from gradcheck.scanning.declarations import line_of

_FRAMEWORKS = ("tensorflow", "keras", "tf_keras")
# How TensorFlow's own decorators around tf.custom_gradient call what they hand to it.
_WRAPPERS = {"recompute_grad.<locals>.inner": "recompute_grad", "grad_pass_through.<locals>": "grad_pass_through"}


def described(number: int, plain: Any, function: Any) -> Site:
    """Return the site of a function: where it is written and how it can be imported."""
    shown, how = _below_wrappers(plain)
    code = getattr(getattr(shown, "__func__", shown), "__code__", None)
    file, line = (code.co_filename, code.co_firstlineno) if code is not None else (_file_of(type(shown)), 0)
    name = qualified_name(shown, type(shown).__name__)
    if is_converted(code):
        file = getattr(shown, "__globals__", {}).get("__file__") or file
        line = line_of(file, name) or line
    bound = getattr(function, "__self__", None) is not None
    kind = "closure" if "<locals>" in name else ("method" if bound or "." in name else "top level")
    helpers = [_helper(value) for value in _captured_functions(shown) if not is_framework(value)]
    site = Site(number, os.path.abspath(file), line, name, kind, how, ", ".join(helpers), own=is_framework(shown))
    if how == "grad_pass_through":
        site.reason = "tf.grad_pass_through is meant to pass the gradient by"
    if how == "custom_gradient" and kind == "top level":
        site.module, site.op = _importable(plain, name)
    return site


def _helper(function: Any) -> str:
    """Return the name of a function that a closure holds; of one without a name of its own with its line."""
    name = str(function.__qualname__)
    return f"{name}:{function.__code__.co_firstlineno}" if name.endswith("<lambda>") else name


def _below_wrappers(plain: Any) -> tuple[Any, str]:
    """Return the function that the user wrote below TensorFlow's own wrappers, and what declares its gradient."""
    how, shown = "custom_gradient", plain
    name = getattr(plain, "__qualname__", "")
    for beginning, wrapper in _WRAPPERS.items():
        if name.startswith(beginning) and is_framework(plain):
            how = wrapper
            shown = next((value for value in _captured_functions(plain) if not is_framework(value)), plain)
    return inspect.unwrap(shown), how


def _file_of(kind: type) -> str:
    return getattr(inspect.getmodule(kind), "__file__", None) or "?"


def is_converted(code: Any) -> bool:
    """Return whether code was written by AutoGraph."""
    return code is not None and "__autograph_generated" in code.co_filename


def _captured_functions(function: Any) -> Iterator[Any]:
    for value in cells_of(function):
        value = value.func if isinstance(value, functools.partial) else value
        if callable(value) and hasattr(value, "__code__"):
            yield value


def is_framework(function: Any) -> bool:
    """Return whether a function is TensorFlow's or Keras' own."""
    top = (getattr(function, "__module__", "") or "").partition(".")[0]
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    file = code.co_filename if code is not None else ""
    return top in _FRAMEWORKS and any(f"{os.sep}{name}{os.sep}" in file for name in _FRAMEWORKS)


def _importable(function: Any, name: str) -> tuple[str | None, str | None]:
    """Return the module (dotted, or the script's file) and the name under which a function can be had again."""
    module = sys.modules.get(getattr(function, "__module__", "") or "")
    value: Any = module
    for part in name.split("."):
        value = getattr(value, part, None)
    if module is None or value is None or not _leads_to(value, function.__code__):
        return None, None
    return module.__name__, name


def _leads_to(value: Any, code: Any) -> bool:
    """Return whether a decorated function is the one of a code object below its decorators."""
    for _ in range(20):
        if getattr(value, "__code__", None) is code:
            return True
        value = getattr(value, "__wrapped__", None) or getattr(value, "python_function", None)
        if value is None:
            return False
    return False
