# SPDX-License-Identifier: Apache-2.0
"""What tells a closure from another one of the same code: the numbers, words, functions and objects that it holds."""

from __future__ import annotations

import contextlib
import functools
import types
import weakref
from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np

from gradcheck.backend.tensorflow.closures import cells_of
from gradcheck.text import shortened

PRIMITIVE = (bool, int, str, bytes, type(None))
# How deep objects and functions in one another are looked into, and at how many parts of each.
DEEPEST, MOST_PARTS = 3, 12
LONGEST_WORDS = 40


class ClosureKeys:
    """Describe closures.  An object is described once: a counter in it makes no other closure of each call."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], Hashable]] = {}

    def key(self, function: Any, depth: int = DEEPEST) -> Hashable:
        """Return what a function's closure and defaults hold, equal for two that hold the same."""
        held = [*cells_of(function), *(getattr(function, "__defaults__", None) or ())]
        return tuple([self._described(value, depth) for value in held])

    def _described(self, value: Any, depth: int) -> Hashable:
        if isinstance(value, PRIMITIVE):
            return type(value), value
        if isinstance(value, (float, np.generic)):
            # By its digits: a NaN equals no other.
            return type(value), repr(value)
        if depth == 0 or _is_array(value):
            return _shape(value)
        if isinstance(value, types.FunctionType):
            return value.__code__, self.key(value, depth - 1)
        if isinstance(value, types.MethodType):
            return value.__func__, self._described(value.__self__, depth - 1)
        if isinstance(value, functools.partial):
            return tuple(self._described(v, depth - 1) for v in (value.func, value.args, value.keywords))
        if isinstance(value, (list, tuple)):
            return tuple([self._described(item, depth - 1) for item in value[:MOST_PARTS]])
        if isinstance(value, dict):
            return tuple([(str(k), self._described(v, depth - 1)) for k, v in list(value.items())[:MOST_PARTS]])
        if isinstance(value, (type, types.ModuleType)):
            return value.__name__
        return self._of_object(value, depth)

    def _of_object(self, value: Any, depth: int) -> Hashable:
        known = self._known.get(id(value))
        if known is not None and known[0]() is value:
            return known[1]
        parts = [(name, self._described(part, depth - 1)) for name, part in _attributes(value)]
        found = (type(value), tuple(parts))
        with contextlib.suppress(TypeError):
            self._known[id(value)] = weakref.ref(value), found
        return found


def words_of(function: Any) -> str:
    """Return the numbers and words that a closure, and the objects in it, hold: `k=3.0, self.kind='tanh'`."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    names = getattr(code, "co_freevars", ())
    found: list[str] = []
    for name, value in zip(names, cells_of(function), strict=False):
        if _is_telling(value):
            found.append(f"{name}={value!r}")
        elif not _is_array(value):
            found += [f"{name}.{part}={held!r}" for part, held in _attributes(value) if _is_telling(held)]
    return shortened(", ".join(found), LONGEST_WORDS)


def _is_array(value: Any) -> bool:
    """Return whether a value is a tensor, a variable or an array; a layer has a dtype too."""
    return hasattr(value, "dtype") and hasattr(value, "shape")


def _is_telling(value: Any) -> bool:
    return isinstance(value, (int, float, str, np.generic)) and not isinstance(value, bool)


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the public attributes that an object itself holds."""
    held = getattr(value, "__dict__", None)
    if isinstance(value, (types.FunctionType, type, types.ModuleType)) or not isinstance(held, dict):
        return
    # A name tells layers of one kind apart that compute the same.
    yield from [(n, v) for n, v in held.items() if not str(n).startswith("_") and n != "name"][:MOST_PARTS]


def _shape(value: Any) -> Hashable:
    """Return the kind of a tensor, an array, or of what is not looked into."""
    shape = getattr(value, "shape", None)
    return type(value), str(getattr(value, "dtype", "")), str(shape) if shape is not None else ""
