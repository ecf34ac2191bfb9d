# SPDX-License-Identifier: Apache-2.0
"""What a schema cannot say of an input: bounds in order, sizes that fit, numbers that fit the dtype."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradcheck.errors import Problem
from gradcheck.spec.arrays import npy_shape
from gradcheck.spec.model import DRAWN_BETWEEN
from gradcheck.spec.nodes import Document, KeyPath

MAX_ELEMENTS, MARGIN = 2**28, 0.05
# How far entries that are to be the same may be apart, beside themselves.
SAME = 1e-5
_FLOAT32_MAX = 3.4028234663852886e38
_LARGEST = {"float16": 65504.0, "bfloat16": 3.3895e38, "float32": _FLOAT32_MAX, "complex64": _FLOAT32_MAX}
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
    if "file" in value:
        yield from _file_problems(document, folder, path, value)


def _file_problems(document: Document, folder: Path, path: KeyPath, value: dict[str, Any]) -> Iterator[Problem]:
    where = (*path, "file")
    try:
        shape = list(_stored_shape(folder, value["file"]))
    except ValueError as error:
        yield document.problem(where, str(error))
        return
    if "ragged" not in value and value.get("shape", shape) != shape:
        yield document.problem(where, f"the file has shape {shape}, `shape` says {value['shape']}")


def case_problems(document: Document, path: KeyPath, case: dict[str, Any]) -> Iterator[Problem]:
    """Yield the contradictions of a case outside of its inputs."""
    for key in ("rtol", "atol", "timeout"):
        if isinstance(case.get(key), float) and not math.isfinite(case[key]):
            yield document.problem((*path, key), f"must be a finite number, is {case[key]}")
    arguments, inputs = case.get("arguments"), case.get("inputs")
    if isinstance(arguments, dict) and isinstance(inputs, dict):
        for key in arguments:
            if key in inputs:
                yield document.problem((*path, "arguments", key), f"`{key}` is an input already", at_key=True)


def upstream_problems(document: Document, folder: Path, path: KeyPath, files: Sequence[str]) -> Iterator[Problem]:
    """Yield what is wrong with the files of an upstream."""
    for i, file in enumerate(files):
        try:
            _stored_shape(folder, file)
        except ValueError as error:
            yield document.problem((*path, "upstream", i), str(error))


def _stored_shape(folder: Path, file: str) -> tuple[int, ...]:
    """Return the shape of the array in a file beside the spec; ValueError says what is wrong with it."""
    if not is_file(folder / file):
        raise ValueError(f"there is no file '{file[:80]}' beside this spec")
    try:
        return npy_shape(folder / file)
    except ValueError as error:
        raise ValueError(f"'{file[:80]}' {error}") from None


def is_file(path: Path) -> bool:
    """Return whether there is a file; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _size_problems(document: Document, path: KeyPath, value: dict[str, Any]) -> Iterator[Problem]:
    count = 1
    for size in value.get("shape", ()):
        count = min(count * int(size), 10**24)
    if count > MAX_ELEMENTS or max(value.get("shape", ()), default=0) > 2**31:
        size = count * _BYTES.get(value.get("dtype", "float32"), 4) / 2**30
        message = f"{count:.3g} elements would take {size:,.0f} GiB; at most {MAX_ELEMENTS} elements are allowed"
        yield document.problem((*path, "shape"), message)
    if sum(value.get("ragged", ())) > MAX_ELEMENTS:
        yield document.problem((*path, "ragged"), f"more than {MAX_ELEMENTS} elements")


def _bound_problems(document: Document, path: KeyPath, value: dict[str, Any]) -> Iterator[Problem]:
    strange = list(_not_finite(document, path, value))
    yield from strange
    if strange:
        return
    for source, (low, high) in {**DRAWN_BETWEEN, "integers": (0, 10)}.items():
        drawn = value.get(source, {})
        a, b = drawn.get("low", low), drawn.get("high", high)
        if not a <= b or (source == "integers" and a == b):
            yield document.problem((*path, source), f"low {a} is not below high {b}")
    yield from _room_problems(document, path, value)
    if "domain" not in value:
        return
    a, b = value["domain"]
    if not a < b:
        yield document.problem((*path, "domain"), f"low {a} is not below high {b}")
    for source, (low, high) in DRAWN_BETWEEN.items():
        if source in value and (value[source].get("low", low) > b or value[source].get("high", high) < a):
            yield document.problem((*path, source), f"lies outside `domain` [{a}, {b}]")
    line = value.get("linspace")
    if line is not None and any(not a <= line.get(key, end) <= b for key, end in (("start", 0.0), ("stop", 1.0))):
        yield document.problem((*path, "linspace"), f"goes outside `domain` [{a}, {b}]")
    for source in ("constant", "values"):
        outside = [x for x in _flat(value.get(source, [])) if _is_number(x) and not (a <= x <= b or x != x)]
        if outside:
            yield document.problem((*path, source), f"{_brief(outside[0])} lies outside `domain` [{a}, {b}]")


def _room_problems(document: Document, path: KeyPath, value: dict[str, Any]) -> Iterator[Problem]:
    """Yield the ranges of drawn numbers that `avoid` leaves nothing of."""
    if not value.get("avoid") or any(source in value for source in ("constant", "values", "file")):
        return
    ranges = {"domain": value["domain"]} if "domain" in value else {}
    if "uniform" in value:
        ranges["uniform"] = [value["uniform"].get("low", 0.0), value["uniform"].get("high", 1.0)]
    for name, (low, high) in ranges.items():
        if low < high and _covered(low, high, value["avoid"], value.get("margin", MARGIN)):
            yield document.problem((*path, "avoid"), f"leaves no room in `{name}` [{low}, {high}]")


def _covered(low: float, high: float, avoid: list[float], margin: float) -> bool:
    """Return whether the numbers to avoid, each with the margin on both sides, cover a whole range."""
    reached = low
    for number in sorted(avoid):
        if number - margin > reached:
            return False
        reached = max(reached, number + margin)
    return reached >= high


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _not_finite(document: Document, path: KeyPath, value: dict[str, Any]) -> Iterator[Problem]:
    """Yield numbers that must be finite, and ranges too wide for a float64."""
    for source in ("normal", "uniform", "log_uniform", "linspace"):
        for key, number in value.get(source, {}).items():
            if not _within(number, 1e300):
                yield document.problem((*path, source, key), f"must be a finite number below 1e300, is {number}")
    if not _within(value.get("margin", 0), 1e300):
        yield document.problem((*path, "margin"), f"must be a finite number, is {value['margin']}")
    for i, number in enumerate(value.get("avoid", ())):
        if not _within(number, 1e300):
            yield document.problem((*path, "avoid", i), f"must be a finite number, is {number}")


def _within(number: float, limit: float) -> bool:
    # Not by float(): a whole number may be larger than any float.
    return -limit <= number <= limit


def _structure_problems(document: Document, path: KeyPath, value: dict[str, Any]) -> Iterator[Problem]:
    if "structure" not in value:
        return
    if "shape" not in value and "values" not in value:
        return
    shape = list(value["shape"] if "shape" in value else _shape(value["values"]) or ())
    if len(shape) < 2 or shape[-1] != shape[-2]:
        message = f"`structure: {value['structure']}` needs square matrices, shape is {shape}"
        yield document.problem((*path, "shape"), message)
    elif "values" in value and _shape(value["values"]) is not None:
        yield from _matrix_problems(document, path, value)


def _matrix_problems(document: Document, path: KeyPath, value: dict[str, Any]) -> Iterator[Problem]:
    """Yield that given matrices do not have the structure that is said of them."""
    triangular = value["structure"] == "lower-triangular"
    for matrix in _matrices(value["values"]):
        for i, row in enumerate(matrix):
            for j in range(i + 1, len(row)):
                wanted = 0 if triangular else matrix[j][i]
                if _is_number(row[j]) and _is_number(wanted) and abs(row[j] - wanted) > SAME * abs(row[j]):
                    message = f"not {value['structure']}: [{i}, {j}] is {_brief(row[j])}, not {_brief(wanted)}"
                    yield document.problem((*path, "values"), message)
                    return


def _matrices(value: Any) -> Iterator[list[list[Any]]]:
    """Yield the matrices of a nested list: its innermost lists of lists."""
    if isinstance(value, list) and value and isinstance(value[0], list):
        if value[0] and isinstance(value[0][0], list):
            for item in value:
                yield from _matrices(item)
        else:
            yield value


def _dtype_problems(document: Document, path: KeyPath, value: dict[str, Any]) -> Iterator[Problem]:
    dtype = _dtype_of(value)
    if isinstance(value.get("constant"), str) and dtype != "string":
        yield document.problem((*path, "constant"), f"'{value['constant']}' does not fit {dtype}")
        return
    if dtype == "":
        return
    floating = dtype.startswith(("float", "bfloat", "complex"))
    for source in ("normal", "uniform", "log_uniform", "linspace", *(("integers",) if dtype == "bool" else ())):
        if source in value and not floating:
            use = "`values`" if dtype == "bool" else "`integers` or `values`"
            yield document.problem((*path, source), f"`{source}` gives no {dtype}", f"use {use}")
    if dtype in ("string", "bool") and not any(key in value for key in ("values", "constant", "file")):
        if dtype == "string":
            yield document.problem((*path, "dtype"), "strings cannot be drawn", "give `values` or `constant`")
    if not floating and value.get("differentiate") is True:
        yield document.problem((*path, "differentiate"), f"{dtype} inputs have no gradient", "leave it out, or `none`")
    if not floating and "structure" in value:
        yield document.problem((*path, "structure"), f"needs a floating dtype, is {dtype}")
    if dtype.startswith(("int", "uint")):
        yield from _range_problems(document, path, value, dtype)
    if floating:
        yield from _overflow_problems(document, path, value, dtype)


def _dtype_of(value: dict[str, Any]) -> str:
    """Return the dtype that an input will have, "" where its values or file decide."""
    if "dtype" in value:
        return str(value["dtype"])
    if "values" in value or "file" in value:
        return ""
    return "int32" if "integers" in value else "float32"


def _overflow_problems(document: Document, path: KeyPath, value: dict[str, Any], dtype: str) -> Iterator[Problem]:
    numbers: list[tuple[tuple[str, ...], Any]]
    numbers = [((source, key), x) for source in ("normal", "uniform", "log_uniform", "linspace")
               for key, x in value.get(source, {}).items()]  # fmt: skip
    if isinstance(value.get("constant"), (int, float)) and not isinstance(value["constant"], bool):
        numbers.append((("constant",), value["constant"]))
    for where, number in numbers:
        if not _fits(number, dtype):
            yield document.problem((*path, *where), f"{_brief(number)} does not fit {dtype}")


def _fits(number: float, dtype: str) -> bool:
    """Return whether a number is one of a floating dtype; infinities and NaN are."""
    if isinstance(number, float) and not math.isfinite(number):
        return True
    return _within(number, _LARGEST.get(dtype, 1.7976931348623157e308))


def _brief(number: float) -> str:
    text = str(number)
    return text if len(text) <= 24 else f"{text[:20]}..."


@dataclass(frozen=True, slots=True)
class _WholeRange:
    min: int
    max: int


def _whole_range(dtype: str) -> _WholeRange:
    """Return the range of a whole-number dtype; not from NumPy, whose import would double the start-up."""
    bits = int(dtype.lstrip("uint"))
    return (
        _WholeRange(0, 2**bits - 1) if dtype.startswith("u") else _WholeRange(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    )


def _range_problems(document: Document, path: KeyPath, value: dict[str, Any], dtype: str) -> Iterator[Problem]:
    info = _whole_range(dtype)
    bounds = value.get("integers", {})
    constant = value.get("constant")
    numbers = [("integers", bounds.get("low")), ("integers", bounds.get("high"))]
    numbers.append(("constant", constant if isinstance(constant, (int, float)) else None))
    for key, number in numbers:
        if number is None:
            continue
        if not info.min <= number <= info.max + (key == "integers") or number != int(number):
            yield document.problem((*path, key), f"{_brief(number)} does not fit {dtype}")


def _literal_problems(document: Document, path: KeyPath, value: Any, drawn: dict[str, Any] | None) -> Iterator[Problem]:
    kinds = {type(leaf) for leaf in _flat(value)}
    if str in kinds and len(kinds) > 1:
        yield document.problem(path, "strings and numbers are mixed")
        return
    shape = _shape(value)
    if shape is None:
        yield document.problem(path, "rows have different lengths", "every row of a literal needs the same length")
        return
    numbers = [x for x in _flat(value) if isinstance(x, (int, float)) and not isinstance(x, bool)]
    kind = (drawn or {}).get("dtype") or ("int32" if numbers and {int} == {type(x) for x in numbers} else "float32")
    if kind == "int32" and (drawn is None or "dtype" not in drawn):
        bad = [x for x in numbers if not -(2**31) <= x < 2**31]
        if bad:
            hint = "give `values` with a `dtype`, int64 or float32"
            yield document.problem(path, f"{_brief(bad[0])} does not fit int32", hint)
    if kind in _LARGEST:
        bad = [x for x in numbers if not _fits(x, kind)]
        if bad:
            yield document.problem(path, f"{_brief(bad[0])} does not fit {kind} (largest {_LARGEST[kind]:g})")
    if drawn is None:
        return
    rows = len(value) if isinstance(value, list) else 0
    if "ragged" in drawn and rows != sum(drawn["ragged"]):
        message = f"holds {rows} rows, `ragged` asks for {sum(drawn['ragged'])}"
        yield document.problem(path, message, "`values` of a ragged input are flat")
    dtype = drawn.get("dtype", "")
    if drawn.get("shape") is not None and list(shape) not in ([], drawn["shape"]):
        yield document.problem(path, f"has shape {list(shape)}, `shape` says {drawn['shape']}")
    if str in kinds and dtype not in ("", "string"):
        yield document.problem(path, f"strings do not fit {dtype}")
    if dtype == "string" and kinds - {str}:
        yield document.problem(path, "numbers do not fit string", "write them in quotes")
    if dtype.startswith(("int", "uint")):
        info = _whole_range(dtype)
        bad = [x for x in _flat(value) if not isinstance(x, str) and not (info.min <= x <= info.max and x == int(x))]
        if bad:
            yield document.problem(path, f"{_brief(bad[0])} does not fit {dtype}")


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
