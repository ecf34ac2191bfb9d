# SPDX-License-Identifier: Apache-2.0
"""Which parts of a grad_fn a returned gradient is made of: a program slice (Weiser 1984), by names."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence

from gradcheck.scanning.returns import own_nodes
from gradcheck.scanning.syntax import Syntax, parts_of

# Methods of a list that put something into it.
_PUTTING = ("append", "extend", "insert")


def by_suspicion(syntax: Syntax, nodes: Sequence[ast.expr], wrong: Sequence[int], count: int) -> list[list[ast.expr]]:
    """Return the nodes in groups: those of wrong gradients alone, those of wrong and right ones, all others.

    `wrong` are the places of the wrong gradients among the `count` that are returned; a mistake stands more often in
    what the wrong ones have for themselves.
    """
    parts = _returned(syntax, count)
    if not wrong or not parts:
        return [list(nodes)]
    definitions = _definitions(syntax)
    made = [_made_of(part, definitions) for part in parts]
    of_wrong = [made[i] for i in wrong if i < len(made)]
    of_right = set().union(*(made[i] for i in range(len(made)) if i not in wrong))
    of_all = set.intersection(*of_wrong) if of_wrong else set()
    of_any = set().union(*of_wrong)
    groups: list[list[ast.expr]] = [[], [], []]
    for node in nodes:
        suspicion = id(node) in of_all and id(node) not in of_right
        groups[0 if suspicion else 1 if id(node) in of_any else 2].append(node)
    return [group for group in groups if group]


def that_read(names: frozenset[str], groups: Sequence[Sequence[ast.expr]]) -> Iterator[list[ast.expr]]:
    """Yield the nodes of each group that stand in a line that reads one of some names, where these are some only."""
    for group in groups:
        lines = {node.lineno for node in group if isinstance(node, ast.Name) and node.id in names}
        near = [node for node in group if node.lineno in lines]
        if 0 < len(near) < len(group):
            yield near


def _returned(syntax: Syntax, count: int) -> list[list[ast.expr]]:
    """Return the expressions that each place of the returned gradients may be, none where places are not plain."""
    if isinstance(syntax.function, ast.Lambda):
        values = [syntax.function.body]
    else:
        own = own_nodes(syntax.function.body)
        values = [n.value for n in own if isinstance(n, ast.Return) and n.value is not None]
    found: list[list[ast.expr]] = [[] for _ in range(count)]
    for value in values:
        parts = [value] if count == 1 else parts_of(value)
        if len(parts) < count:
            return []
        for place in range(count):
            found[place].append(parts[place])
    return found


def _definitions(syntax: Syntax) -> dict[str, list[ast.AST]]:
    """Return what each name of the function is made of, wherever it is assigned, added to or filled."""
    found: dict[str, list[ast.AST]] = {}
    for node in syntax.nodes():
        for name, value in _defined(node):
            found.setdefault(name, []).append(value)
    return found


def _defined(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from assigned(target, node.value)
    elif isinstance(node, (ast.AugAssign, ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
        yield from assigned(node.target, node.value)
    elif isinstance(node, (ast.For, ast.comprehension)):
        yield from assigned(node.target, node.iter)
    elif isinstance(node, ast.If):
        # What is assigned below a condition depends on it.
        inside = [inner for part in (*node.body, *node.orelse) for inner in ast.walk(part)]
        yield from ((name, node.test) for inner in inside for name, _ in _defined(inner))
    elif isinstance(node, ast.FunctionDef):
        yield from ((node.name, statement) for statement in node.body)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _PUTTING:
        if isinstance(node.func.value, ast.Name):
            yield from ((node.func.value.id, argument) for argument in node.args)


def assigned(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names that an assignment gives a value, each with what it is made of."""
    targets, values = parts_of(target), parts_of(value)
    paired = len(targets) == len(values)
    for i, part in enumerate(targets):
        base = part
        while isinstance(base, (ast.Subscript, ast.Starred, ast.Attribute)):
            base = base.value
        if isinstance(base, ast.Name):
            yield base.id, values[i] if paired else value


def _made_of(parts: Iterable[ast.expr], definitions: dict[str, list[ast.AST]]) -> set[int]:
    """Return the ids of the nodes that expressions are made of, through the names that they read."""
    found: set[int] = set()
    left: list[ast.AST] = list(parts)
    while left:
        for node in ast.walk(left.pop()):
            if id(node) in found:
                continue
            found.add(id(node))
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                left += [value for value in definitions.get(node.id, ()) if id(value) not in found]
    return found
