# SPDX-License-Identifier: Apache-2.0
"""Read what a .npy file says of itself, without NumPy, whose import would double the start-up."""

from __future__ import annotations

import ast
import math
import re
from pathlib import Path

MAGIC = b"\x93NUMPY"
# Bytes of a header that are read; NumPy's own limit is the same.
LONGEST = 10_000
# Axes that NumPy has at most; versions of the format; numbers that TensorFlow has too, and their bytes.
MOST_AXES, VERSIONS = 64, (1, 2, 3)
NUMBERS = re.compile(r"[<>|=]?(?:b(?=1)|[iu](?=[1248]$)|f(?=[248]$)|c(?=8$|16$))(\d+)")
DAMAGED = "has a damaged header; write it with np.save"


def npy_shape(path: Path) -> tuple[int, ...]:
    """Return the shape of the array in a .npy file of plain numbers.

    Raises ValueError with what is wrong with the file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(12)
            if start[:2] == b"PK":
                raise ValueError("is an archive; save one array with np.save")
            if start[:6] != MAGIC or len(start) < 12:
                raise ValueError("is no .npy file; write it with np.save")
            if start[6] not in VERSIONS:
                raise ValueError(DAMAGED)
            wide = start[6] > 1
            length = int.from_bytes(start[8 : 12 if wide else 10], "little")
            file.seek(12 if wide else 10)
            header = file.read(min(length, LONGEST)).decode("latin-1" if start[6] < 3 else "utf-8", "replace")
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}") from None
    shape, item = _described(header)
    if size < (12 if wide else 10) + length + math.prod(shape) * item:
        raise ValueError("ends too early: it was not written whole")
    return shape


def _described(header: str) -> tuple[tuple[int, ...], int]:
    """Return the shape and the bytes of a number that a header tells of."""
    try:
        entries = ast.literal_eval(header)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(DAMAGED) from None
    if not isinstance(entries, dict) or set(entries) != {"descr", "fortran_order", "shape"}:
        raise ValueError(DAMAGED)
    shape, descr = entries["shape"], entries["descr"]
    if not isinstance(entries["fortran_order"], bool) or not _is_shape(shape):
        raise ValueError(DAMAGED)
    kind = NUMBERS.fullmatch(descr) if isinstance(descr, str) else None
    if kind is None:
        raise ValueError(f"holds {str(descr)[:40]!r}, no plain numbers; save numbers with np.save")
    if math.prod(max(n, 1) for n in shape) * int(kind[1]) >= 2**63:
        # NumPy counts the bytes of the other axes even where one is empty.
        raise ValueError(DAMAGED)
    return shape, int(kind[1])


def _is_shape(shape: object) -> bool:
    """Return whether a header's shape is one that an array can have."""
    if not isinstance(shape, tuple) or len(shape) > MOST_AXES:
        return False
    return all(type(size) is int and size >= 0 for size in shape)
