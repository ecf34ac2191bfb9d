# SPDX-License-Identifier: Apache-2.0
"""Two names of one line that were taken for one another: the weights of two branches, the two gates of a cell."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Sequence


def swapped_names(
    nodes: Sequence[ast.expr], names: Sequence[str], lines: Sequence[str]
) -> Iterator[tuple[int, int, int, str]]:
    """Yield line, first and last byte, and the text between them with two of the names in each other's place."""
    uses = [n for n in nodes if isinstance(n, ast.Name) and n.id in names and isinstance(n.ctx, ast.Load)]
    for line in dict.fromkeys(node.lineno for node in uses):
        here = sorted((n for n in uses if n.lineno == line), key=lambda n: n.col_offset)
        for one, other in itertools.combinations(dict.fromkeys(n.id for n in here), 2):
            places = [n for n in here if n.id in (one, other)]
            yield _swapped(lines[line - 1].encode(), places, {one: other, other: one})


def _swapped(raw: bytes, places: Sequence[ast.Name], instead: dict[str, str]) -> tuple[int, int, int, str]:
    start, end = places[0].col_offset, places[-1].end_col_offset or 0
    text, at = b"", start
    for node in places:
        text += raw[at : node.col_offset] + instead[node.id].encode()
        at = node.end_col_offset or 0
    return places[0].lineno, start, end, text.decode()
