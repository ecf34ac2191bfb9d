# SPDX-License-Identifier: Apache-2.0
"""Functions whose closures hold tensors of a graph: find these tensors, and put values in their place."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from gradcheck.backend.tensorflow.keras_types import is_layer, raw_variable

# A function in a closure may itself be a closure; deeper than this nobody writes them.
DEEPEST = 4


def graph_tensors(function: Any) -> list[Any]:
    """Return the tensors of a graph that a function's closure holds, those of functions in it included."""
    found: dict[int, Any] = {}
    for value in _held(function, DEEPEST):
        if tf.is_tensor(value) and tf.is_symbolic_tensor(value):
            found.setdefault(id(value), value)
    return list(found.values())


def functions_in(function: Any) -> tuple[Any, ...]:
    """Return the code of the functions that a function's closure holds directly."""
    codes = (getattr(getattr(value, "__func__", value), "__code__", None) for value in cells_of(function))
    return tuple(code for code in codes if code is not None)


def rebuilt(function: Callable[..., Any], values: Mapping[int, Any]) -> Callable[..., Any]:
    """Return a function with values (by the identity of what they replace) in its closure."""
    return _replaced(function, values, DEEPEST) if values else function


def cells_of(function: Any) -> Iterator[Any]:
    """Yield what a function's closure holds; a cell that is not filled yet holds nothing."""
    plain = getattr(function, "__func__", function)
    for cell in getattr(plain, "__closure__", None) or ():
        try:
            yield cell.cell_contents
        except ValueError:
            continue


def _held(function: Any, depth: int) -> Iterator[Any]:
    if depth == 0:
        return
    for value in cells_of(function):
        if isinstance(value, (list, tuple)):
            yield from value
        elif isinstance(value, dict):
            yield from value.values()
        elif isinstance(value, types.FunctionType):
            yield from _held(value, depth - 1)
        else:
            yield value


def _replaced(value: Any, values: Mapping[int, Any], depth: int) -> Any:
    if id(value) in values:
        return values[id(value)]
    if isinstance(value, dict):
        return {key: _replaced(item, values, 0) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_replaced(item, values, 0) for item in value)
    if isinstance(value, types.MethodType):
        return types.MethodType(_replaced(value.__func__, values, depth), value.__self__)
    if not isinstance(value, types.FunctionType) or depth == 0 or not value.__closure__:
        return value
    cells = tuple(_replaced_cell(cell, values, depth - 1) for cell in value.__closure__)
    clone = types.FunctionType(value.__code__, value.__globals__, value.__name__, value.__defaults__, cells)
    clone.__kwdefaults__ = value.__kwdefaults__
    clone.__qualname__ = value.__qualname__
    clone.__dict__.update(value.__dict__)
    return clone


def _replaced_cell(cell: Any, values: Mapping[int, Any], depth: int) -> Any:
    try:
        held = cell.cell_contents
    except ValueError:
        return cell
    new = _replaced(held, values, depth)
    return cell if new is held else types.CellType(new)


def variables_of(function: Any) -> list[tf.Variable]:
    """Return the variables that a function's closure or object holds, those of layers and modules in it included."""
    owner = getattr(function, "__self__", None)
    values = [*_held(function, DEEPEST), owner, *(vars(owner).values() if hasattr(owner, "__dict__") else ())]
    owned = [v for value in values if isinstance(value, tf.Module) or is_layer(value) for v in value.variables]
    found = {id(raw): raw for v in [*values, *owned] if isinstance(raw := raw_variable(v), tf.Variable)}
    return list(found.values())
