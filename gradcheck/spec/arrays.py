"""Read what a .npy file says of itself, without NumPy, whose import would double the start-up."""

from __future__ import annotations

import ast
import math
import re
from pathlib import Path

MAGIC = b"\x93NUMPY"
# Bytes of a header that are read; NumPy's own limit is the same.
LONGEST = 10_000


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
            wide = start[6] > 1
            length = int.from_bytes(start[8 : 12 if wide else 10], "little")
            file.seek(12 if wide else 10)
            header = file.read(min(length, LONGEST)).decode("latin-1")
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
        shape, descr = tuple(entries["shape"]), entries["descr"]
        if not all(type(n) is int for n in shape):
            raise ValueError
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError):
        raise ValueError("has a damaged header; write it with np.save") from None
    kind = re.fullmatch(r"[<>|=]?[biufc](\d+)", descr) if isinstance(descr, str) else None
    if kind is None or any(n < 0 for n in shape):
        raise ValueError(f"holds {str(descr)[:40]!r}, no plain numbers; save numbers with np.save")
    return shape, int(kind.group(1))
