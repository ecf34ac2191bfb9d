# SPDX-License-Identifier: Apache-2.0
"""Whole numbers that are written in an op: sizes, labels and steps from which on something else may happen."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from gradcheck.backend.tensorflow.captured import global_names
from gradcheck.backend.tensorflow.closures import cells_of
from gradcheck.backend.tensorflow.tracing import nodes_of

# Numbers beyond these are no sizes that anybody tries.
LEAST, MOST = 2, 4096
# A constant tensor with more numbers is data.
_FEW = 4
# A function calls another, which calls a third.
_DEEPEST = 3


def written_numbers(op: Any, concrete: Any) -> tuple[int, ...]:
    """Return the whole numbers in the code of an op and in a trace of it, ascending."""
    found = {*_in_graph(concrete), *_in_code(op, _DEEPEST)}
    return tuple(sorted(number for number in found if LEAST <= number <= MOST))


def whole_floats(concrete: Any) -> tuple[int, ...]:
    """Return the whole numbers among the floating constants of a trace, ascending: what counters are divided by."""
    found: set[int] = set()
    for node in nodes_of(concrete):
        if node.op == "Const" and tf.as_dtype(node.attr["dtype"].type).is_floating:
            value = tf.make_ndarray(node.attr["value"].tensor)
            if value.size == 1 and LEAST <= abs(float(value.ravel()[0])) <= MOST:
                number = abs(float(value.ravel()[0]))
                found |= {int(number)} if number.is_integer() else set()
    return tuple(sorted(found))


def _in_graph(concrete: Any) -> Iterator[int]:
    for node in nodes_of(concrete):
        if node.op == "Const" and tf.as_dtype(node.attr["dtype"].type).is_integer:
            value = tf.make_ndarray(node.attr["value"].tensor)
            if value.size <= _FEW:
                yield from (abs(int(number)) for number in value.ravel())


def _in_code(value: Any, depth: int) -> Iterator[int]:
    """Yield the numbers in a function, in those that it defines or holds, and in those of its module that it calls."""
    if depth == 0:
        return
    if isinstance(value, type) or not callable(value):
        return
    function = inspect.unwrap(value)
    function = getattr(function, "__func__", getattr(function, "python_function", function))
    code = getattr(function, "__code__", None)
    if code is None:
        code = getattr(type(value).__call__, "__code__", None)
        function = type(value).__call__
    if not isinstance(code, types.CodeType):
        return
    yield from _in_constants(code)
    space = getattr(function, "__globals__", {})
    named = [space.get(name) for name in global_names(code)]
    for other in [*cells_of(function), *named]:
        if getattr(other, "__module__", None) == getattr(function, "__module__", None):
            yield from _in_code(other, depth - 1)


def _in_constants(code: types.CodeType) -> Iterator[int]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _in_constants(constant)
        elif type(constant) is int:
            yield abs(constant)
