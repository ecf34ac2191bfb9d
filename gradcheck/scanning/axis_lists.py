# SPDX-License-Identifier: Apache-2.0
"""Other axes than those that a call names: one fewer of several, one more than one."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from gradcheck.scanning.edit_causes import is_axis

_MORE = (0, 1, 2, -1)


def other_axes(node: ast.expr, parents: Mapping[ast.AST, ast.AST]) -> Iterator[str]:
    """Yield texts that may stand in the place of an axis, or of a list of axes, of a function that reduces."""
    if not _reduces(node, parents):
        return
    if isinstance(node, (ast.List, ast.Tuple)) and all(is_axis(element, parents) for element in node.elts):
        texts = [ast.unparse(element) for element in node.elts]
        for left_out in range(len(texts) if len(texts) > 1 else 0):
            yield f"[{', '.join(texts[:left_out] + texts[left_out + 1 :])}]"
    elif is_axis(node, parents) and not isinstance(parents.get(node), (ast.List, ast.Tuple)):
        own = ast.unparse(node)
        for other in _MORE:
            if str(other) != own:
                yield f"[{own}, {other}]"


def _reduces(node: ast.expr, parents: Mapping[ast.AST, ast.AST]) -> bool:
    parent = parents.get(node)
    call = parents.get(parent) if isinstance(parent, ast.keyword) else parent
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr.startswith("reduce_")
