# SPDX-License-Identifier: Apache-2.0
"""Walk long arrays in parts that stay in the cache."""

from __future__ import annotations

from collections.abc import Iterator

PART = 2**16


def chunks_of(size: int) -> Iterator[slice]:
    """Yield the slices that cover `size` elements, in order."""
    for start in range(0, size, PART):
        yield slice(start, min(start + PART, size))
