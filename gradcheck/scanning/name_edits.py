# SPDX-License-Identifier: Apache-2.0
"""Edits of the names of a grad_fn: the weights of two branches, the two gates of a cell, taken for one another."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Sequence

from gradcheck.scanning.forms import COUNT
from gradcheck.scanning.slices import assigned
from gradcheck.scanning.syntax import Edit, Syntax, names_read, number_of, on_lines

# Elements of tensors by which a step of a loop is multiplied.
_ELEMENTS = 8


def other_names(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield another name in the place of one."""
    if _is_use(syntax, node):
        yield from (syntax.put(node, other) for other in syntax.names if other != syntax.text(node))


def named_instead(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield the name of a tensor in the place of a number, or of a factor or term that is no name."""
    if not isinstance(node, ast.Name) and not isinstance(number_of(node), int):
        yield from (syntax.put(node, name) for name in syntax.inputs())


def as_in_a_sum(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield a name with what the forward adds to it or takes away from it: the next place, what is centred."""
    if _is_use(syntax, node):
        for text in _sums_with(syntax, syntax.text(node)):
            yield syntax.put(node, text)


def _sums_with(syntax: Syntax, name: str) -> list[str]:
    """Return the sums and differences of the forward of a name and another name or number."""
    found = []
    for node in syntax.outside:
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
            parts = (node.left, node.right)
            plain = all(
                isinstance(p, ast.Constant) or (isinstance(p, ast.Name) and p.id in syntax.names) for p in parts
            )
            if plain and any(isinstance(p, ast.Name) and p.id == name for p in parts):
                found.append(ast.unparse(node))
    return list(dict.fromkeys(found))


def one_fewer(syntax: Syntax, node: ast.expr, names: Sequence[str]) -> Iterator[Edit]:
    """Yield a count that has a name less one: what an unbiased variance divides by."""
    if isinstance(node, ast.Name) and node.id in names and isinstance(node.ctx, ast.Load):
        yield from (syntax.put(node, f"{node.id} {sign} 1") for sign in "-+")


def other_names_of_lines(syntax: Syntax, nodes: Sequence[ast.expr]) -> Iterator[Edit]:
    """Yield lines with two names in each other's place, then with one name everywhere in the place of another."""
    for here in on_lines([n for n in nodes if _is_use(syntax, n)]):
        own = {n: syntax.text(n) for n in here}
        for one, other in itertools.combinations(dict.fromkeys(own.values()), 2):
            places = [n for n in here if own[n] in (one, other)]
            yield syntax.put_all(places, [other if own[n] == one else one for n in places])
        for name in dict.fromkeys(own.values()):
            places = [n for n in here if own[n] == name]
            if len(places) > 1:
                yield from (syntax.put_all(places, [other] * len(places)) for other in syntax.names if other != name)


def _is_use(syntax: Syntax, node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in syntax.names and isinstance(node.ctx, ast.Load)


def with_term(syntax: Syntax, node: ast.expr, names: Sequence[str]) -> Iterator[Edit]:
    """Yield a value with a name added, and taken away."""
    for name, sign in itertools.product(names, "+-"):
        yield syntax.put(node, f"{syntax.text(node)} {sign} {name}")


def unread(syntax: Syntax) -> list[str]:
    """Return the names that the function is given or makes and never reads: a term that was forgotten."""
    names = [node for node in syntax.nodes() if isinstance(node, ast.Name)]
    read = {node.id for node in names if isinstance(node.ctx, ast.Load)}
    given = [argument.arg for argument in syntax.function.args.args]
    made = [node.id for node in names if isinstance(node.ctx, ast.Store)]
    return [name for name in dict.fromkeys((*given, *made)) if name not in read and name.strip("_")]


def counted(syntax: Syntax, node: ast.expr, names: Sequence[str]) -> Iterator[Edit]:
    """Yield a value divided and multiplied by a count that has a name: what a mean leaves out, or has too much."""
    for name, sign in itertools.product(names, "/*"):
        yield syntax.put(node, f"{syntax.as_factor(node)} {sign} {syntax.filled(COUNT, name)}")


def counts(syntax: Syntax) -> list[str]:
    """Return the names that are given the size of an axis, of a tensor, of a list."""
    inside = [node for node in syntax.nodes() if isinstance(node, ast.Assign)]
    given = [(target, node.value) for node in (*inside, *syntax.given_outside) for target in node.targets]
    named = (pair for target, value in given for pair in assigned(target, value))
    return list(dict.fromkeys(name for name, value in named if name in syntax.names and _is_size(value)))


def _is_size(value: ast.expr) -> bool:
    while isinstance(value, ast.Subscript):
        value = value.value
    if isinstance(value, ast.Call):
        value = value.func
        return (isinstance(value, ast.Attribute) and value.attr in ("shape", "size")) or (
            isinstance(value, ast.Name) and value.id == "len"
        )
    return isinstance(value, ast.Attribute) and value.attr == "shape"


def handed_on(nodes: Sequence[ast.expr]) -> list[ast.expr]:
    """Return what functions of the user's own take: an angle, the sine of a rotation, an upstream."""
    calls = [n for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    return [argument for call in calls for argument in call.args if argument.lineno == argument.end_lineno]


def elements(syntax: Syntax) -> list[str]:
    """Return the elements of tensors, written as in the op, that a step of a loop in the grad_fn may read."""
    counters = set(syntax.counters())
    own = [node for node in syntax.expressions() if isinstance(node, ast.Subscript)]
    found: dict[str, None] = {}
    for node in (*syntax.outside, *own):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in syntax.names:
            read = {n.id for n in ast.walk(node.slice) if isinstance(n, ast.Name)}
            if read & counters and read <= {*syntax.names, *counters}:
                found[ast.unparse(node)] = None
    return list(found)[:_ELEMENTS]


def elements_beside(syntax: Syntax) -> list[str]:
    """Return the elements of tensors at the places at which the grad_fn reads others."""
    counters = set(syntax.counters())
    own = [node for node in syntax.expressions() if isinstance(node, ast.Subscript)]
    places = [syntax.text(n.slice) for n in own if names_read(ast.walk(n.slice)) & counters]
    taken = (
        n.value.id for n in (*syntax.outside, *own) if isinstance(n, ast.Subscript) and isinstance(n.value, ast.Name)
    )
    names = [name for name in dict.fromkeys(taken) if name in syntax.names]
    return [f"{name}[{place}]" for place in dict.fromkeys(places) for name in names][: 2 * _ELEMENTS]
