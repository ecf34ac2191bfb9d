# SPDX-License-Identifier: Apache-2.0
"""Edits of a name wherever a line uses it, negated or transposed, and of what a function of the library takes."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Sequence

from gradcheck.scanning.call_edits import with_switch
from gradcheck.scanning.forms import ARGUMENTS
from gradcheck.scanning.syntax import Edit, Syntax, number_of, on_lines

_MATRIX_SWITCHES = ("transpose_a", "transpose_b")


def negated_names(syntax: Syntax, nodes: Sequence[ast.expr]) -> Iterator[Edit]:
    """Yield lines in which every term that holds a name has the other sign: a rotation by the opposite angle."""
    for places in _uses(syntax, nodes):
        terms = list(dict.fromkeys(_term(syntax, node) for node in places))
        if len(terms) > 1 and all(term.lineno == term.end_lineno == places[0].lineno for term in terms):
            pieces = sorted((_negated(syntax, term) for term in terms), key=lambda piece: piece.start)
            if all(one.end <= other.start for one, other in itertools.pairwise(pieces)):
                yield syntax.put_pieces(pieces)


def transposed_names(syntax: Syntax, nodes: Sequence[ast.expr]) -> Iterator[Edit]:
    """Yield lines in which a name is transposed wherever it is a factor of a matrix product."""
    for places in _uses(syntax, nodes):
        pieces = [piece for node in places if (piece := _transposed(syntax, node)) is not None]
        if len(pieces) > 1 and len(pieces) == len(places):
            yield syntax.put_pieces(sorted(pieces, key=lambda piece: piece.start))


def complemented_names(syntax: Syntax, nodes: Sequence[ast.expr]) -> Iterator[Edit]:
    """Yield lines with one minus a name where the name stands, and the name where one minus it does."""
    for places in _uses(syntax, nodes):
        wholes = [_complement(syntax, node) for node in places]
        if any(whole is not node for whole, node in zip(wholes, places, strict=True)):
            name = syntax.text(places[0])
            texts = [f"(1.0 - {name})" if whole is node else name for whole, node in zip(wholes, places, strict=True)]
            yield syntax.put_all(wholes, texts)


def _complement(syntax: Syntax, node: ast.expr) -> ast.expr:
    """Return the difference of one and an expression, the expression itself where it stands in none."""
    parent = syntax.parents.get(node)
    if isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Sub) and node is parent.right:
        return parent if number_of(parent.left) == 1 else node
    return node


def multiplied_names(syntax: Syntax, nodes: Sequence[ast.expr]) -> Iterator[Edit]:
    """Yield lines in which a name is multiplied by a tensor wherever it stands: the weight behind a normalisation."""
    for places in _uses(syntax, nodes):
        name = syntax.text(places[0])
        for other in syntax.inputs():
            if other != name:
                yield syntax.put_all(places, [syntax.bracketed(node, f"{name} * {other}") for node in places])


def other_arguments(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield a tensor that a function of the library takes conjugated, transposed, made symmetric, negated."""
    parent = syntax.parents.get(node)
    if isinstance(node, ast.Name) and node.id in syntax.names and isinstance(parent, ast.Call):
        if node in parent.args and isinstance(parent.func, ast.Attribute):
            yield from (syntax.put(node, syntax.own(form.format(e=node.id))) for form in ARGUMENTS)


def _uses(syntax: Syntax, nodes: Sequence[ast.expr]) -> Iterator[list[ast.expr]]:
    """Yield the places of each name that a line reads more than once."""
    names = [n for n in nodes if isinstance(n, ast.Name) and n.id in syntax.names and isinstance(n.ctx, ast.Load)]
    for here in on_lines(names):
        for text in dict.fromkeys(map(syntax.text, here)):
            places = [n for n in here if syntax.text(n) == text]
            if len(places) > 1:
                yield places


def _term(syntax: Syntax, node: ast.expr) -> ast.expr:
    """Return the product that an expression is a factor of."""
    while isinstance(parent := syntax.parents.get(node), ast.BinOp) and isinstance(parent.op, (ast.Mult, ast.Div)):
        node = parent
    return node


def _negated(syntax: Syntax, term: ast.expr) -> Edit:
    """Return the edit that gives a term of a sum, a difference or a list the other sign."""
    parent = syntax.parents.get(term)
    sums = isinstance(parent, ast.BinOp) and isinstance(parent.op, (ast.Add, ast.Sub)) and term is parent.right
    if isinstance(parent, ast.BinOp) and sums and parent.left.end_lineno == term.lineno:
        sign, other = "-+" if isinstance(parent.op, ast.Sub) else "+-"
        between = syntax.between(parent.left, term).replace(sign, other, 1)
        return Edit(term.lineno, parent.left.end_col_offset or 0, term.col_offset, between)
    return Edit(term.lineno, term.col_offset, term.col_offset, "-")


def _transposed(syntax: Syntax, node: ast.expr) -> Edit | None:
    """Return the edit that transposes a factor of a matrix product, None for what is no such factor."""
    parent = syntax.parents.get(node)
    if isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.MatMult):
        return syntax.put(node, syntax.own(f"tf.transpose({syntax.text(node)})"))
    if isinstance(parent, ast.Call) and isinstance(parent.func, ast.Attribute) and parent.func.attr == "matmul":
        if node in parent.args[:2]:
            return with_switch(syntax, parent, _MATRIX_SWITCHES[parent.args.index(node)])
    return None
