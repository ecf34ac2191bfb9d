# SPDX-License-Identifier: Apache-2.0
"""Turn tensors and Python objects that somebody has at hand into a case: its inputs, its arguments."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.backend.tensorflow.runs import to_array
from gradcheck.spec.model import Case, Input
from gradcheck.spec.parse import parse_data
from gradcheck.spec.schema import DTYPES, SCHEMA

_WORDS = frozenset(SCHEMA["definitions"]["drawn"]["properties"])
# One of these is always there, perhaps misspelt: `shap`, `hsape`.
_FIRST_WORDS, _LIKE = ("shape", "values"), 0.8
Given = Mapping[str, Any] | Sequence[Any]


@dataclass(frozen=True, slots=True)
class Call:
    """Hold the values of a call by parameter name: what may be a tensor, and Python objects."""

    inputs: Mapping[str, Any]
    arguments: Mapping[str, Any]


def call_of(fn: Any, given: Any) -> Call:
    """Return the call of `fn` on given values: a mapping by parameter, a sequence by position, or one tensor.

    Tensors, arrays, floating numbers, nested structures of these and what a spec says of an input
    (`{"shape": [4, 3]}`) are inputs; anything else, `axis=1` or `padding="same"`, is handed to the op as it is.
    """
    values = _named(fn, given)
    inputs = {name: value for name, value in values.items() if _is_input(value)}
    return Call(inputs, {name: value for name, value in values.items() if name not in inputs})


def case_of(name: str, op: str, call: Call, options: Mapping[str, Any]) -> Case:
    """Return the case that checks the module's attribute `op` on the values of a call.

    `options` are further keys of a case.  Raises SpecError for what a spec could not have either.
    """
    arguments = {**options.get("arguments", {}), **call.arguments}
    body = {"op": op, **{key: _plain(value, key) for key, value in options.items()}}
    body |= {"inputs": {key: described(value) for key, value in call.inputs.items()}}
    body |= {"arguments": arguments} if arguments else {}
    safe = "".join(c if c.isprintable() and not c.isspace() and c not in ":/" else "_" for c in name) or "op"
    spec = parse_data({"module": "gradcheck_case", "cases": {safe: body}}, f"<{safe}>", Path.cwd())
    return with_values(spec.cases[0], call.inputs)


def with_values(case: Case, values: Mapping[str, Any]) -> Case:
    """Return the case with the numbers of given values in the place of what `described` says of them."""
    return replace(
        case, inputs={**case.inputs, **{key: _filled(case.inputs[key], value) for key, value in values.items()}}
    )


def described(value: Any) -> Any:
    """Return what a spec says of an input; the numbers of tensors and arrays are filled in later."""
    if _is_described(value):
        return _plain(value)
    if isinstance(value, Mapping):
        return {"items": {str(key): described(item) for key, item in value.items()}}
    if _is_structure(value):
        return {"items": [described(item) for item in value]}
    if not _is_array(value):
        return _plain(value)
    array, extra = _array_and_kind(value)
    return {"shape": list(array.shape), "dtype": _dtype(value, array), "constant": 0, **extra}


def _named(fn: Any, given: Any) -> dict[str, Any]:
    if isinstance(given, Mapping):
        return {str(name): value for name, value in given.items()}
    values = list(given) if isinstance(given, (list, tuple)) else [given]
    return dict(zip(positional_names(fn, len(values)), values, strict=True))


def positional_names(fn: Any, count: int) -> list[str]:
    """Return the names of a function's first `count` positional parameters; `x3` for one that has none."""
    names = list(_parameters(fn))[:count]
    return names + [f"x{i}" for i in range(len(names), count)]


def _parameters(fn: Any) -> Iterator[str]:
    target = getattr(fn, "call", fn)
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return
    for parameter in parameters:
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            yield parameter.name


def _is_input(value: Any) -> bool:
    if _is_array(value) or _is_described(value):
        return True
    if isinstance(value, Mapping):
        return bool(value) and all(_is_input(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return bool(value) and all(_is_input(item) or type(item) is int for item in value)
    # A whole number by itself is an axis or a count, which ops want as Python has it.
    return isinstance(value, (float, complex))


def _is_structure(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and any(
        _is_array(item) or isinstance(item, Mapping) or _is_structure(item) for item in value
    )


def _is_described(value: Any) -> bool:
    """Return whether a mapping is what a spec says of an input, a misspelt word among its own included."""
    if not isinstance(value, Mapping) or not value or _holds_tensors(value):
        return False
    return set(value) <= _WORDS or any(_is_like(str(key), word) for key in value for word in _FIRST_WORDS)


def _is_like(key: str, word: str) -> bool:
    return bool(difflib.get_close_matches(key, [word], cutoff=_LIKE))


def _holds_tensors(value: Mapping[str, Any]) -> bool:
    return any(_is_array(item) for key, item in value.items() if key not in ("values", "constant", "dtype"))


def _is_array(value: Any) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "shape") and not isinstance(value, type)


def _plain(value: Any, key: str = "") -> Any:
    """Return data as a spec would hold it: lists where Python has tuples, names where it has dtypes."""
    if key in ("build", "arguments"):
        return value
    if isinstance(value, Mapping):
        return {name: _plain(item, name) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, tf.DType):
        return value.name
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return np.dtype(value).name
    return value


def _array_and_kind(value: Any) -> tuple[Any, dict[str, Any]]:
    """Return the numbers of a tensor, and how a spec says that it is sparse or ragged."""
    if isinstance(value, tf.SparseTensor):
        return np.asarray(tf.sparse.to_dense(tf.sparse.reorder(value))), {"sparse": True}
    if isinstance(value, tf.RaggedTensor):
        return np.asarray(value.values), {"ragged": value.row_lengths().numpy().tolist()}
    # Of a single number in bfloat16 TensorFlow itself makes no array.
    return np.asarray(to_array(value)), {}


def _dtype(value: Any, array: Any) -> str:
    name = getattr(value.dtype, "name", str(value.dtype))
    return name if name in DTYPES else ("string" if array.dtype.kind in "OSU" else str(array.dtype))


def _filled(spec: Input, value: Any) -> Input:
    if _is_described(value):
        return spec
    if isinstance(spec.items, Mapping):
        return replace(spec, items={key: _filled(spec.items[str(key)], item) for key, item in value.items()})
    if spec.items is not None:
        return replace(spec, items=tuple(_filled(s, v) for s, v in zip(spec.items, value, strict=True)))
    if not _is_array(value):
        return spec
    return replace(spec, source="values", parameters=_array_and_kind(value)[0], shape=None)


def numbers(value: Any) -> np.ndarray[Any, Any]:
    """Return the numbers of a tensor or an array; those of a sparse one in full."""
    return np.asarray(_array_and_kind(value)[0])


def is_dense(value: Any) -> bool:
    """Return whether a value is one tensor or array, neither sparse nor ragged nor a structure of them."""
    return isinstance(value, (tf.Tensor, np.ndarray))
