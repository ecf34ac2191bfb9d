# SPDX-License-Identifier: Apache-2.0
"""Other axes than those that a call names: fewer, more, those of another call, or in another order."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Mapping, Sequence

from gradcheck.scanning.edit_causes import is_axis
from gradcheck.scanning.syntax import Edit, Syntax, on_lines

_MORE = (0, 1, 2, -1)


def other_axes(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield other axes in the place of an axis, or of a list of axes, of a function that reduces."""
    yield from (syntax.put(node, text) for text in _instead(node, syntax.parents, syntax.outside))


def _instead(node: ast.expr, parents: Mapping[ast.AST, ast.AST], outside: Sequence[ast.expr]) -> Iterator[str]:
    """Yield the texts of other axes; `outside` are the expressions of the forward, which names the right ones."""
    if not _reduces(node, parents):
        return
    own = ast.unparse(node)
    if isinstance(node, (ast.List, ast.Tuple)) and _is_list(node, parents):
        yield from _one_fewer(node)
        yield from _elsewhere(own, outside)
    elif is_axis(node, parents) and not isinstance(parents.get(node), (ast.List, ast.Tuple)):
        yield from (f"[{own}, {other}]" for other in _MORE if str(other) != own)
        yield from _elsewhere(own, outside)


def axes_of_a_line(syntax: Syntax, nodes: Sequence[ast.expr]) -> Iterator[Edit]:
    """Yield lines with other axes in all calls that reduce there.

    The two means in the gradient of a norm go over the same axes, and over the wrong ones together.
    """
    parents = syntax.parents
    named = [n for n in nodes if _reduces(n, parents) and (_is_list(n, parents) or is_axis(n, parents))]
    for here in on_lines(named):
        for own in dict.fromkeys(map(ast.unparse, here)):
            places = [n for n in here if ast.unparse(n) == own]
            if len(places) > 1:
                instead = dict.fromkeys([*map(str, _MORE), *_instead(places[0], parents, syntax.outside)])
                yield from (syntax.put_all(places, [text] * len(places)) for text in instead if text != own)


def other_orders(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield the orders that the axes of a transpose may have: the inverse, then two of them exchanged."""
    order = _order(node)
    if order is None or not _is_argument_of(node, syntax.parents, "transpose"):
        return
    exchanged = []
    for one, other in itertools.combinations(range(len(order)), 2):
        exchanged.append(list(order))
        exchanged[-1][one], exchanged[-1][other] = order[other], order[one]
    inverse = [order.index(axis) for axis in range(len(order))]
    for found in dict.fromkeys(map(str, [inverse, *exchanged])):
        if found != str(order):
            yield syntax.put(node, found)


def _order(node: ast.expr) -> list[int] | None:
    """Return the whole numbers of a list of all axes, None if an expression is another thing."""
    if not isinstance(node, (ast.List, ast.Tuple)):
        return None
    found = [e.value for e in node.elts if isinstance(e, ast.Constant) and type(e.value) is int]
    return found if len(found) == len(node.elts) and sorted(found) == list(range(len(found))) else None


def _one_fewer(node: ast.List | ast.Tuple) -> Iterator[str]:
    texts = [ast.unparse(element) for element in node.elts]
    for left_out in range(len(texts) if len(texts) > 1 else 0):
        yield f"[{', '.join(texts[:left_out] + texts[left_out + 1 :])}]"


def _elsewhere(own: str, outside: Sequence[ast.expr]) -> Iterator[str]:
    """Yield the lists of whole numbers that stand elsewhere in the op."""
    lists = (e for e in outside if isinstance(e, (ast.List, ast.Tuple)) and e.elts and all(map(_is_whole, e.elts)))
    yield from (text for text in dict.fromkeys(map(ast.unparse, lists)) if text != own)


def _is_whole(node: ast.expr) -> bool:
    number = node.operand if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else node
    return isinstance(number, ast.Constant) and type(number.value) is int


def _is_list(node: ast.expr, parents: Mapping[ast.AST, ast.AST]) -> bool:
    """Return whether an expression is a list of axes."""
    return isinstance(node, (ast.List, ast.Tuple)) and all(is_axis(element, parents) for element in node.elts)


def _reduces(node: ast.expr, parents: Mapping[ast.AST, ast.AST]) -> bool:
    return _is_argument_of(node, parents, "reduce_")


def _is_argument_of(node: ast.expr, parents: Mapping[ast.AST, ast.AST], name: str) -> bool:
    """Return whether an expression is an argument of a function whose name begins with `name`."""
    parent = parents.get(node)
    call = parents.get(parent) if isinstance(parent, ast.keyword) else parent
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr.startswith(name)
