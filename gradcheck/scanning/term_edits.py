# SPDX-License-Identifier: Apache-2.0
"""Edits that add a term to a gradient: that of a normalisation, of a second use, of another line."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from gradcheck.scanning.arithmetic_edits import AXES
from gradcheck.scanning.call_edits import switched
from gradcheck.scanning.edit_causes import is_axis
from gradcheck.scanning.forms import DIAGONALS, ONES, OWN_TERMS, PAST_TERMS, TERMS
from gradcheck.scanning.syntax import Edit, Syntax, number_of

# Terms elsewhere in a grad_fn of which one more is added with another name in it.
TERMS_TRIED = 6


def with_terms(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield a value with the term of a normalisation that is forgotten, of what the value holds itself."""
    text, factor, upstream = syntax.text(node), syntax.as_factor(node), syntax.upstream
    for form, axis in itertools.product(OWN_TERMS, AXES):
        yield syntax.put(node, syntax.own(form.format(e=text, f=factor, a=axis)))
    own = _names_in(node)
    yield from _normalised(syntax, node, [name for name in syntax.inputs() if name in own])
    yield from (syntax.put(node, form.format(e=text)) for form in ONES)
    for form in DIAGONALS if upstream else ():
        yield syntax.put(node, syntax.own(form.format(e=text, f=factor, u=upstream)))


def with_terms_of_others(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield a value with the term of a normalisation by a tensor that it does not hold."""
    own = _names_in(node)
    yield from _normalised(syntax, node, [name for name in syntax.inputs() if name not in own])


def _names_in(node: ast.expr) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def _normalised(syntax: Syntax, node: ast.expr, names: Sequence[str]) -> Iterator[Edit]:
    text, factor = syntax.text(node), syntax.as_factor(node)
    for form, name, axis in itertools.product(TERMS, names, AXES):
        yield syntax.put(node, syntax.own(form.format(e=text, f=factor, n=name, a=axis)))


def with_what_goes_past(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield a value with the upstream added, whole or by a gate: what a residual connection hands on."""
    for form, name in itertools.product(PAST_TERMS, syntax.inputs() if syntax.upstream else ()):
        yield syntax.put(node, form.format(e=syntax.text(node), u=syntax.upstream, n=name))


def with_second_use(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield a value twice, and with itself over another axis, or with a factor transposed, added and taken away.

    Of a square, of a pair, of both sides of a matrix, a gradient has two such terms.
    """
    text = syntax.text(node)
    if number_of(node) is None:
        yield syntax.put(node, f"2.0 * {syntax.as_factor(node)}")
    for inner in ast.walk(node):
        for edit in _elsewhere(syntax, inner):
            other = _after(edit, node, text)
            yield syntax.put(node, f"{text} - {_as_term(other)}")
            yield syntax.put(node, f"{text} + {other}")


def _elsewhere(syntax: Syntax, node: ast.AST) -> Iterator[Edit]:
    """Yield the edits of an axis, of a slice with steps, of what a side is padded with, of the switches of a call."""
    if isinstance(node, ast.Constant) and is_axis(node, syntax.parents):
        yield from (syntax.put(node, str(axis)) for axis in AXES if axis != node.value)
    if isinstance(node, ast.Slice) and node.step is not None and node.lower is None and node.upper is None:
        steps = number_of(node.step)
        yield from (Edit(node.lineno, node.col_offset, node.col_offset, str(i)) for i in range(1, int(steps or 1)))
    if isinstance(node, ast.List) and len(node.elts) == 2 and all(number_of(part) is not None for part in node.elts):
        before, after = map(syntax.text, node.elts)
        yield syntax.put_all(node.elts, [after, before])
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        yield from switched(syntax, node, node.func.attr)


def _after(edit: Edit, whole: ast.expr, text: str) -> str:
    """Return the text of an expression after an edit inside of it."""
    return replace(edit, start=edit.start - whole.col_offset, end=edit.end - whole.col_offset).applied(text)


def with_term_of_another_line(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield a value with a term that stands elsewhere in the grad_fn, one of its names exchanged for another.

    What comes through a gate reaches an input and a state by the same product with other weights.
    """
    text = syntax.text(node)
    for sign, term in _terms(syntax, node):
        words = syntax.text(term)
        for name in [n for n in ast.walk(term) if isinstance(n, ast.Name) and n.id in syntax.names]:
            for other in syntax.names:
                added = _after(syntax.put(name, other), term, words)
                if other != name.id and added not in text:
                    yield syntax.put(node, f"{text} {sign} {added}")


def _terms(syntax: Syntax, node: ast.expr) -> Sequence[tuple[str, ast.expr]]:
    """Return what is added elsewhere in the grad_fn, and taken away, with the sign; sums are no terms."""
    inside = {id(part) for part in ast.walk(node)}
    sums = [n for n in syntax.expressions() if isinstance(n, ast.BinOp) and isinstance(n.op, (ast.Add, ast.Sub))]
    terms = [("+", part) for n in sums for part in (n.left, n.right) if isinstance(n.op, ast.Add)]
    terms += [("-", n.right) for n in sums if isinstance(n.op, ast.Sub)]
    found = {(sign, syntax.text(t)): (sign, t) for sign, t in terms if id(t) not in inside and not _is_plain(t)}
    return list(found.values())[:TERMS_TRIED]


def _is_plain(node: ast.expr) -> bool:
    """Return whether an expression is a name, a number or a sum."""
    return _is_sum(node) or isinstance(node, (ast.Name, ast.Constant))


def _is_sum(node: ast.expr) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub))


def _as_term(text: str) -> str:
    """Return an expression as it stands behind a minus sign."""
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError:
        return f"({text})"
    return f"({text})" if _is_sum(tree) or isinstance(tree, (ast.UnaryOp, ast.IfExp)) else text
