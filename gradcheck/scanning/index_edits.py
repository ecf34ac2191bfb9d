# SPDX-License-Identifier: Apache-2.0
"""Edits of what counts and orders in a grad_fn: indices of loops, the order of a list, the end that is padded."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Sequence

from gradcheck.scanning.syntax import Edit, Syntax, number_of, on_lines, written

# Integers of the op by which an index of a loop is multiplied: a stride, a dilation.
_STRIDES = 6
# Parts of other tensors that stand in the place of one.
_PARTS = 8
# Functions whose lists say by how much a tensor is moved.
_MOVING = ("pad", "roll")


def other_orders_of_lists(syntax: Syntax, nodes: Sequence[ast.expr]) -> Iterator[Edit]:
    """Yield lists, tuples and indices with neighbours exchanged, turned around, and with all pairs of pairs swapped."""
    lists = [n for n in nodes if isinstance(n, (ast.List, ast.Tuple)) and isinstance(n.ctx, ast.Load)]
    lists = [n for n in lists if not isinstance(syntax.parents.get(n), (ast.Return, ast.Lambda))]
    for node in lists:
        for one, other in itertools.pairwise(node.elts):
            if _may_swap(syntax, one, other):
                yield syntax.put_all([one, other], [syntax.text(other), syntax.text(one)])
    for node in (n for n in lists if len(n.elts) > 2 and n.lineno == n.end_lineno):
        texts = [syntax.text(element) for element in node.elts]
        for turned in (texts[1:] + texts[:1], texts[-1:] + texts[:-1], texts[::-1]):
            yield syntax.put_all(node.elts, turned)
    pairs = [n for n in lists if len(n.elts) == 2 and n.lineno == n.end_lineno and _may_swap(syntax, *n.elts)]
    for place in dict.fromkeys((syntax.parents.get(n), n.lineno) for n in pairs):
        beside = [n for n in pairs if (syntax.parents.get(n), n.lineno) == place]
        if len(beside) > 1:
            places = [element for n in beside for element in n.elts]
            yield syntax.put_all(places, [syntax.text(e) for n in beside for e in reversed(n.elts)])


def _may_swap(syntax: Syntax, one: ast.expr, other: ast.expr) -> bool:
    if isinstance(one, ast.Slice) or isinstance(other, ast.Slice) or one.lineno != other.end_lineno:
        return False
    return syntax.text(one) != syntax.text(other)


def other_loops(syntax: Syntax) -> Iterator[Edit]:
    """Yield loops over all of a list, or over it the other way round."""
    for loop in syntax.nodes():
        steps = loop.iter if isinstance(loop, (ast.For, ast.comprehension)) else None
        if steps is None or steps.lineno != steps.end_lineno:
            continue
        ahead = _turned_around(steps)
        yield syntax.put(steps, f"reversed({syntax.text(steps)})" if ahead is None else syntax.text(ahead))
        part = steps if ahead is None else ahead
        if isinstance(part, ast.Subscript) and isinstance(part.slice, ast.Slice):
            whole = syntax.text(part.value)
            yield from (syntax.put(steps, text) for text in (f"reversed({whole})", whole))


def _turned_around(steps: ast.expr) -> ast.expr | None:
    """Return what a call of `reversed` takes, None for another expression."""
    back = isinstance(steps, ast.Call) and isinstance(steps.func, ast.Name) and steps.func.id == "reversed"
    return steps.args[0] if isinstance(steps, ast.Call) and back and steps.args else None


def other_indices(syntax: Syntax, nodes: Sequence[ast.expr]) -> Iterator[Edit]:
    """Yield indices that count the steps of a loop: one more, one less, from the other end, times a stride.

    Of one subscript, then of all subscripts of a line that hold the same index.
    """
    lengths = _lengths(syntax)
    counted = [n for n in nodes if isinstance(n, (ast.Name, ast.BinOp)) and _counts(n, lengths)]
    inside = [(n, s) for n in counted if (s := _subscript(syntax, n)) is not None]
    for here in on_lines([n for n, _ in inside]):
        subscripts = {id(n): s for n, s in inside}
        for text in dict.fromkeys(map(syntax.text, here)):
            same = [n for n in here if syntax.text(n) == text]
            of_each = [
                [n for n in same if subscripts[id(n)] is s] for s in dict.fromkeys(map(subscripts.get, map(id, same)))
            ]
            for places in [*of_each, *([same] if len(of_each) > 1 else [])]:
                for instead in _instead(syntax, places[0], lengths):
                    yield syntax.put_all(places, [syntax.bracketed(n, instead) for n in places])


def other_subscripts(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield another part of a tensor that the op takes elsewhere: the window that a step of a loop has moved to.

    Then a part of another tensor.
    """
    if not (isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and isinstance(node.ctx, ast.Load)):
        return
    found = dict.fromkeys(_subscripts(syntax))
    same = [text for name, text in found if name == node.value.id]
    others = [text for name, text in found if name != node.value.id]
    for other in [*same, *others[:_PARTS]]:
        if other != syntax.text(node):
            yield syntax.put(node, other)


def _subscripts(syntax: Syntax) -> Iterator[tuple[str, str]]:
    """Yield the parts of tensors that an op takes, each with the tensor's name, that the grad_fn may read."""
    seen = {*syntax.names, *syntax.counters()}
    for node in (*syntax.outside, *syntax.expressions()):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in syntax.names:
            if {n.id for n in ast.walk(node.slice) if isinstance(n, ast.Name)} <= seen:
                yield node.value.id, ast.unparse(node)


def exchanged_numbers(syntax: Syntax, nodes: Sequence[ast.expr]) -> Iterator[Edit]:
    """Yield lines with two numbers that are indices in each other's place: coefficients in another order."""
    whole = [n for n in nodes if isinstance(syntax.parents.get(n), (ast.Subscript, ast.Tuple))]
    numbers = [n for n in whole if isinstance(number_of(n), int) and _subscript(syntax, n) is not None]
    for here in on_lines(numbers):
        own = {n: syntax.text(n) for n in here}
        for one, other in itertools.combinations(dict.fromkeys(own.values()), 2):
            places = [n for n in here if own[n] in (one, other)]
            yield syntax.put_all(places, [other if own[n] == one else one for n in places])


def _instead(syntax: Syntax, node: ast.expr, lengths: dict[str, str]) -> Iterator[str]:
    text = syntax.text(node)
    others = [name for name in lengths if name not in text]
    yield from (f"{text} {sign} {other}" for other in ("1", *others) for sign in "+-")
    length = lengths.get(node.id, "") if isinstance(node, ast.Name) else ""
    if length:
        last = written(int(length) - 1) if length.isdigit() else f"{length} - 1"
        yield f"{last} - {text}"
    factor = text if isinstance(node, ast.Name) else f"({text})"
    yield from (f"{stride} * {factor}" for stride in _strides(syntax) if stride not in text)


def _strides(syntax: Syntax) -> list[str]:
    """Return the names and whole numbers that something is multiplied with in the forward, and steps of slices."""
    products = [
        n for e in syntax.outside if isinstance(e, ast.BinOp) and isinstance(e.op, ast.Mult) for n in (e.left, e.right)
    ]
    steps = [e.step for e in syntax.outside if isinstance(e, ast.Slice) and e.step is not None]
    found = [n.id for n in products if isinstance(n, ast.Name) and n.id in syntax.names]
    whole = [str(n) for e in (*products, *steps) if isinstance(n := number_of(e), int)]
    return list(dict.fromkeys([*found, *whole]))[:_STRIDES]


def _lengths(syntax: Syntax) -> dict[str, str]:
    """Return the counters of the loops, and over how many steps each goes: empty where that is not plain."""
    loops = [node for node in syntax.nodes() if isinstance(node, (ast.For, ast.comprehension))]
    found = dict.fromkeys(syntax.counters(), "")
    for loop in loops:
        if isinstance(loop.target, ast.Name) and (length := _length(loop.iter)):
            found[loop.target.id] = length
    return found


def _length(steps: ast.expr) -> str:
    call = steps if isinstance(steps, ast.Call) and isinstance(steps.func, ast.Name) else None
    if call is not None and isinstance(call.func, ast.Name) and call.func.id == "reversed" and call.args:
        return _length(call.args[0])
    plain = call is not None and isinstance(call.func, ast.Name) and call.func.id == "range" and len(call.args) == 1
    return ast.unparse(call.args[0]) if call is not None and plain else ""


def _counts(node: ast.expr, counters: dict[str, str]) -> bool:
    """Return whether an expression is made of counters, numbers and names with operators alone."""
    inner = list(ast.walk(node))
    plain = (ast.Name, ast.BinOp, ast.Constant, ast.operator, ast.expr_context)
    return all(isinstance(n, plain) for n in inner) and any(isinstance(n, ast.Name) and n.id in counters for n in inner)


def _subscript(syntax: Syntax, node: ast.AST) -> ast.AST | None:
    """Return the subscript in which an expression stands as an index, or the call of a function of the user's own.

    What a tensor is padded with counts like an index.
    """
    while (parent := syntax.parents.get(node)) is not None:
        if isinstance(parent, ast.Subscript):
            return parent if node is parent.slice else None
        if isinstance(parent, ast.Call):
            own = isinstance(parent.func, ast.Name) and parent.func.id in syntax.names
            moving = isinstance(parent.func, ast.Attribute) and parent.func.attr in _MOVING
            return parent if (own or moving) and node in parent.args else None
        if not isinstance(parent, (ast.Slice, ast.Tuple, ast.List, ast.BinOp, ast.UnaryOp)):
            return None
        node = parent
    return None
