# SPDX-License-Identifier: Apache-2.0
"""The calls that are tried on an op without a spec: shapes, dtypes, sources and numbers, likely ones first."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gradcheck.backend.tensorflow.given import Call
from gradcheck.backend.tensorflow.keras_types import is_layer
from gradcheck.backend.tensorflow.target import signature_of
from gradcheck.spec.model import Case

ROWS, COLUMNS, OTHER = 4, 3, 5

_SHAPES: tuple[tuple[tuple[int, ...], ...], ...] = (
    # Shapes of the first, second, third ... tensor; the last one stands for all further ones.
    ((ROWS, COLUMNS),),
    ((ROWS, COLUMNS), (COLUMNS,)),
    ((ROWS, COLUMNS), (COLUMNS, OTHER), (OTHER,)),
    ((ROWS, COLUMNS), ()),
    ((COLUMNS,),),
    ((ROWS, COLUMNS), (ROWS,)),
    ((COLUMNS, COLUMNS),),
    ((COLUMNS, COLUMNS), (COLUMNS,)),
    ((2, ROWS, COLUMNS),),
    ((2, 6, 6, 2), (3, 3, 2, 2), (2,)),
    ((2, 6, 6, 2),),
    ((2, 6, 2), (3, 2, 2), (2,)),
    ((),),
)
_WHOLE_SHAPES: tuple[tuple[int, ...] | None, ...] = ((ROWS,), None, (), (ROWS, 2))
_WHOLE_NAMES = ("ids", "idx", "index", "indices", "segment", "lengths", "length", "token", "classes")
_MASK_NAMES = ("mask", "is_", "keep")
_LABEL_NAMES = ("label", "target", "y_true", "onehot", "one_hot")
_PROBABILITY_NAMES = ("prob", "p", "q")
_POSITIVE_NAMES = ("std", "stddev", "sigma", "var", "variance", "scale", "rate", "temperature", "weight", "eps")
_PYTHON_VALUES: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(("axis", "dim"), (-1, 0)),
    **dict.fromkeys(("n", "k", "num", "count", "size", "steps", "depth", "units", "groups", "num_steps"), (3, 2)),
    **dict.fromkeys(("training", "transpose", "keepdims"), (False, True)),
}
_PYTHON_TYPES: Mapping[str, tuple[Any, ...]] = {"int": (3, 2, 1, -1), "bool": (False, True), "float": (0.7,)}


def required(op: Any) -> list[inspect.Parameter]:
    """Return the parameters of an op, or of a factory, that have no default."""
    signature = signature_of(op)
    if signature is None:
        return []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p for p in signature.parameters.values() if p.kind in kinds and p.default is inspect.Parameter.empty]


def calls(op: Any, case: Case) -> Iterator[Call]:
    """Yield the calls to try: likely ones first."""
    wanted = [p for p in required(op) if p.name not in case.inputs and p.name not in case.arguments]
    if not wanted and not case.inputs:
        signature = signature_of(op)
        if signature is None or any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values()) or is_layer(op):
            wanted = [inspect.Parameter("x", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
        else:
            wanted = [p for p in signature.parameters.values() if p.default in (None, p.empty)][:1]
    python = {p.name: values for p in wanted if (values := _python_values(p))}
    tensors = [p.name for p in wanted if p.name not in python]
    constants = [dict(zip(python, values, strict=True)) for values in itertools.product(*python.values())]
    for kinds in _kinds(tensors):
        for shapes in _SHAPES[: None if tensors else 1]:
            for whole in _WHOLE_SHAPES if any(kind != "float32" for kind in kinds.values()) else (None,):
                described = _described(kinds, shapes, whole)
                for source in ("normal", "uniform"):
                    for arguments in constants:
                        yield Call(_with_source(described, source), arguments)


def _python_values(parameter: inspect.Parameter) -> tuple[Any, ...]:
    annotation = parameter.annotation
    named = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return _PYTHON_TYPES.get(named) or _PYTHON_VALUES.get(parameter.name.lower()) or ()


def _kinds(names: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield dtypes for the tensors: by their names, then with one of them of another dtype, then float64."""
    likely = {name: _likely_dtype(name) for name in names}
    yield likely
    for name in reversed(names):
        for dtype in ("int32", "bool", "float32", "int64"):
            if likely[name] != dtype:
                yield {**likely, name: dtype}
    yield {name: "float64" if dtype == "float32" else dtype for name, dtype in likely.items()}
    yield {name: "complex64" if dtype == "float32" else dtype for name, dtype in likely.items()}


def _likely_dtype(name: str) -> str:
    lowered = name.lower()
    if any(word in lowered for word in _WHOLE_NAMES):
        return "int32"
    return "bool" if any(lowered.startswith(word) for word in _MASK_NAMES) else "float32"


def _described(
    kinds: Mapping[str, str], shapes: Sequence[tuple[int, ...]], whole: tuple[int, ...] | None
) -> dict[str, dict[str, Any]]:
    """Return what a spec says of the tensors: `whole` is the shape of those that are not floating, None for any."""
    found: dict[str, dict[str, Any]] = {}
    floating = 0
    for name, dtype in kinds.items():
        is_floating = dtype.startswith(("float", "complex"))
        shape = shapes[min(floating, len(shapes) - 1)] if is_floating or whole is None else whole
        floating += is_floating
        found[name] = {"shape": list(shape)} if dtype == "float32" else {"shape": list(shape), "dtype": dtype}
        if dtype.startswith("int"):
            found[name]["integers"] = {"low": 0, "high": COLUMNS}
    return found


def _with_source(described: Mapping[str, dict[str, Any]], source: str) -> dict[str, dict[str, Any]]:
    return {name: _sourced(name, item, source) for name, item in described.items()}


def _sourced(name: str, item: dict[str, Any], source: str) -> dict[str, Any]:
    """Return an input with its numbers drawn as its name suggests, or else from `source`."""
    lowered = name.lower()
    if item.get("dtype", "float32") not in ("float32", "float64"):
        return item
    if any(word in lowered for word in _LABEL_NAMES) and item["shape"]:
        return {**item, "values": _one_hot(item["shape"]), "differentiate": False}
    if any(lowered == word or (len(word) > 2 and word in lowered) for word in _PROBABILITY_NAMES):
        return {**item, "uniform": {"low": 0.1, "high": 0.9}}
    if lowered in _POSITIVE_NAMES:
        return {**item, "uniform": {"low": 0.5, "high": 2.0}}
    return item if source == "normal" else {**item, "uniform": {"low": 0.1, "high": 0.9}}


def _one_hot(shape: Sequence[int]) -> Any:
    count = int(np.prod(shape[:-1], dtype=int))
    rows = np.eye(shape[-1])[np.arange(count) % shape[-1]]
    return rows.reshape(shape).tolist()
