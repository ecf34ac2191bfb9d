# SPDX-License-Identifier: Apache-2.0
"""The names of the lines of code that a message quotes."""

from __future__ import annotations

import ast
import re

_QUOTED = re.compile(r": `([^`]+)`\)")


def names_in_quotes(message: str) -> frozenset[str]:
    """Return the names that the quoted lines of a message give to tensors and take them by: `(ops.py:3: `y = f(x)`)`.

    Names that are called, and parts of modules, are no tensors.
    """
    found: set[str] = set()
    for text in _QUOTED.findall(message):
        try:
            tree = ast.parse(text)
        except SyntaxError:
            continue
        nodes = list(ast.walk(tree))
        called = {n.func.id for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
        modules = {n.value.id for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)}
        found |= {n.id for n in nodes if isinstance(n, ast.Name)} - called - modules
    return frozenset(found)
