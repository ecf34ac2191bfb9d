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
            texts = [other if n.id == one else one for n in places]
            yield with_texts(lines[line - 1].encode(), places, texts)


def with_texts(raw: bytes, places: Sequence[ast.expr], texts: Sequence[str]) -> tuple[int, int, int, str]:
    """Return line, first and last byte, and the text between them with a text in each of the places of one line."""
    start, end = places[0].col_offset, places[-1].end_col_offset or 0
    found, at = b"", start
    for node, text in zip(places, texts, strict=True):
        found += raw[at : node.col_offset] + text.encode()
        at = node.end_col_offset or 0
    return places[0].lineno, start, end, found.decode()
