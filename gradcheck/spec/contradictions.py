"""What a schema cannot say of an input: bounds in order, sizes that fit, numbers that fit the dtype."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gradcheck.errors import Problem
from gradcheck.spec.nodes import Document, KeyPath

MAX_ELEMENTS = 2**28
_BYTES = {"float16": 2, "bfloat16": 2, "float64": 8, "complex64": 8, "complex128": 16, "int64": 8, "uint64": 8}


def input_problems(document: Document, folder: Path, path: KeyPath, value: Any) -> Iterator[Problem]:
    """Yield the contradictions of one input, nested ones included."""
    if not isinstance(value, dict):
        yield from _literal_problems(document, path, value, None)
        return
    if "items" in value:
        items = value["items"]
        for key, item in items.items() if isinstance(items, dict) else enumerate(items):
            yield from input_problems(document, folder, (*path, "items", key), item)
        return
    yield from _size_problems(document, path, value)
    yield from _bound_problems(document, path, value)
    yield from _structure_problems(document, path, value)
    yield from _dtype_problems(document, path, value)
    if "values" in value:
        yield from _literal_problems(document, (*path, "values"), value["values"], value)
    if "file" in value and not (folder / value["file"]).is_file():
        yield document.problem((*path, "file"), f"there is no file '{value['file']}' beside this spec")


def _size_problems(document: Document, path: KeyPath, value: dict[str, Any]) -> Iterator[Problem]:
    count = 1
    for size in value.get("shape", ()):
        count *= int(size)
    if count > MAX_ELEMENTS:
        size = count * _BYTES.get(value.get("dtype", "float32"), 4) / 2**30
        message = f"{count:.3g} elements would take {size:,.0f} GiB; at most {MAX_ELEMENTS} elements are allowed"
        yield document.problem((*path, "shape"), message)
    if sum(value.get("ragged", ())) > MAX_ELEMENTS:
        yield document.problem((*path, "ragged"), f"more than {MAX_ELEMENTS} elements")


def _bound_problems(document: Document, path: KeyPath, value: dict[str, Any]) -> Iterator[Problem]:
    for source, low, high in (("uniform", 0.0, 1.0), ("log_uniform", 1e-3, 1e3), ("integers", 0, 10)):
        if source not in value:
            continue
        a, b = value[source].get("low", low), value[source].get("high", high)
        if not a <= b or (source == "integers" and a == b):
            yield document.problem((*path, source), f"low {a} is not below high {b}")
    if "domain" not in value:
        return
    a, b = value["domain"]
    if not a < b:
        yield document.problem((*path, "domain"), f"low {a} is not below high {b}")
    for source in ("uniform", "log_uniform"):
        if source in value and (value[source].get("low", a) > b or value[source].get("high", b) < a):
            yield document.problem((*path, source), f"lies outside `domain` [{a}, {b}]")


def _structure_problems(document: Document, path: KeyPath, value: dict[str, Any]) -> Iterator[Problem]:
    if "structure" not in value or "shape" not in value:
        return
    shape = value["shape"]
    if len(shape) < 2 or shape[-1] != shape[-2]:
        message = f"`structure: {value['structure']}` needs square matrices, shape is {shape}"
        yield document.problem((*path, "shape"), message)


def _dtype_problems(document: Document, path: KeyPath, value: dict[str, Any]) -> Iterator[Problem]:
    dtype = value.get("dtype")
    if dtype is None:
        return
    floating = dtype.startswith(("float", "bfloat", "complex"))
    for source in ("normal", "uniform", "log_uniform"):
        if source in value and not floating:
            yield document.problem((*path, source), f"`{source}` gives no {dtype}", "use `integers` or `values`")
    if dtype in ("string", "bool") and not any(key in value for key in ("values", "constant", "file")):
        if dtype == "string":
            yield document.problem((*path, "dtype"), "strings cannot be drawn", "give `values` or `constant`")
    if not floating and value.get("differentiate") is True:
        yield document.problem((*path, "differentiate"), f"{dtype} inputs have no gradient", "leave it out, or `none`")
    if not floating and "structure" in value:
        yield document.problem((*path, "structure"), f"needs a floating dtype, is {dtype}")
    if dtype.startswith(("int", "uint")):
        yield from _range_problems(document, path, value, dtype)


def _range_problems(document: Document, path: KeyPath, value: dict[str, Any], dtype: str) -> Iterator[Problem]:
    info = np.iinfo(dtype)
    bounds = value.get("integers", {})
    constant = value.get("constant")
    numbers = [("integers", bounds.get("low")), ("integers", bounds.get("high"))]
    numbers.append(("constant", constant if isinstance(constant, (int, float)) else None))
    for key, number in numbers:
        if number is not None and not info.min <= number <= info.max + (key == "integers"):
            yield document.problem((*path, key), f"{number} does not fit {dtype}")


def _literal_problems(document: Document, path: KeyPath, value: Any, drawn: dict[str, Any] | None) -> Iterator[Problem]:
    kinds = {type(leaf) for leaf in _flat(value)}
    if str in kinds and len(kinds) > 1:
        yield document.problem(path, "strings and numbers are mixed")
        return
    shape = _shape(value)
    if shape is None:
        yield document.problem(path, "rows have different lengths", "every row of a literal needs the same length")
        return
    if drawn is None:
        return
    dtype = drawn.get("dtype", "")
    if drawn.get("shape") is not None and list(shape) not in ([], drawn["shape"]):
        yield document.problem(path, f"has shape {list(shape)}, `shape` says {drawn['shape']}")
    if str in kinds and dtype not in ("", "string"):
        yield document.problem(path, f"strings do not fit {dtype}")
    if dtype == "string" and kinds - {str}:
        yield document.problem(path, "numbers do not fit string", "write them in quotes")
    if dtype.startswith(("int", "uint")):
        info = np.iinfo(dtype)
        bad = [x for x in _flat(value) if not isinstance(x, str) and not (info.min <= x <= info.max and x == int(x))]
        if bad:
            yield document.problem(path, f"{bad[0]} does not fit {dtype}")
    if dtype == "float16" and any(isinstance(x, (int, float)) and 65504 < abs(x) < float("inf") for x in _flat(value)):
        yield document.problem(path, "a value does not fit float16 (largest 65504)")


def _flat(value: Any) -> list[Any]:
    return [leaf for item in value for leaf in _flat(item)] if isinstance(value, list) else [value]


def _shape(value: Any) -> tuple[int, ...] | None:
    if not isinstance(value, list):
        return ()
    shapes = {_shape(item) for item in value}
    if len(shapes) > 1 or None in shapes:
        return None
    inner = shapes.pop() if shapes else ()
    return (len(value), *(inner or ()))
