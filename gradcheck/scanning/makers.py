# SPDX-License-Identifier: Apache-2.0
"""Functions of a file, and of files that it imports from, that make custom gradients: decorators, factories."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

# Files that import decorators from one another, one after the other.
MOST_FILES = 4

Function = ast.FunctionDef | ast.AsyncFunctionDef


def at_the_top(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield the statements at the top of a module, those below `if`, `try` and `with` too, in their order."""
    left: list[ast.stmt] = list(reversed(tree.body))
    while left:
        node = left.pop()
        yield node
        if not isinstance(node, (*_SCOPES, ast.For, ast.While)):
            inner = [child for child in ast.iter_child_nodes(node) if isinstance(child, (ast.stmt, ast.ExceptHandler))]
            left += reversed([s for child in inner for s in (_body(child))])


_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _body(node: ast.stmt | ast.ExceptHandler) -> list[ast.stmt]:
    return node.body if isinstance(node, ast.ExceptHandler) else [node]


def makers(tree: ast.Module, declaring: Collection[str]) -> list[str]:
    """Return the functions at the top of a module that return a custom gradient of what they get.

    `declaring` are the names of the file that make a function a custom gradient.
    """
    functions = [node for node in at_the_top(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return [function.name for function in functions if _returns_one(function, declaring)]


def _returns_one(function: Function, declaring: Collection[str]) -> bool:
    """Return whether a function returns a function and makes a custom gradient."""
    nodes = list(ast.walk(function))
    inner = [
        node for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node is not function
    ]
    made = {node.name for node in inner}
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and last(node.value.func) in declaring:
            made |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    words = {last(d.func if isinstance(d, ast.Call) else d) for f in inner for d in f.decorator_list}
    calls = {last(node.func) for node in nodes if isinstance(node, ast.Call)}
    returned = [node.value for node in _own_returns(function)]
    return bool((words | calls) & set(declaring)) and any(_is_function(value, made, declaring) for value in returned)


def _own_returns(function: Function) -> Iterator[ast.Return]:
    """Yield what a function itself returns, not the functions in it."""
    left: list[ast.AST] = list(function.body)
    while left:
        node = left.pop()
        if isinstance(node, ast.Return):
            yield node
        elif not isinstance(node, (*_SCOPES, ast.Lambda)):
            left += ast.iter_child_nodes(node)


def _is_function(value: ast.expr | None, made: set[str], declaring: Collection[str]) -> bool:
    if isinstance(value, ast.Name):
        return value.id in made
    if isinstance(value, ast.Call):
        # What wraps a function, as functools.wraps(f)(g) does, gives a function.
        inside = [*value.args, *(keyword.value for keyword in value.keywords)]
        is_wrapper = last(value.func) in _WRAPPERS or isinstance(value.func, ast.Call)
        return last(value.func) in declaring or (is_wrapper and any(_is_function(a, made, declaring) for a in inside))
    return False


_WRAPPERS = ("update_wrapper", "partial", "function", "make_decorator")


def instances(tree: ast.Module, made_by: Collection[str]) -> dict[str, int]:
    """Return the names at the top of a module that are given what one of the makers returns, with their lines."""
    found: dict[str, int] = {}
    for node, function in assigned_calls(tree):
        if function in made_by:
            found |= {target.id: node.lineno for target in node.targets if isinstance(target, ast.Name)}
    return found


def assigned_calls(tree: ast.Module) -> Iterator[tuple[ast.Assign, str]]:
    """Yield the assignments at the top of a module that call a function, with its name."""
    for node in at_the_top(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            yield node, last(node.value.func)


def decorators(tree: ast.Module) -> set[str]:
    """Return the names that decorate a function somewhere in a module."""
    functions = (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
    return {last(d.func if isinstance(d, ast.Call) else d) for function in functions for d in function.decorator_list}


def imported_from(tree: ast.Module, path: Path) -> Iterator[tuple[Path, list[ast.alias]]]:
    """Yield the files beside a module from which it imports names, with these."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for place in _places(node, path):
                file = next((f for f in (place.with_suffix(".py"), place / "__init__.py") if f.is_file()), None)
                if file is not None:
                    yield file, node.names
                    break


def _places(node: ast.ImportFrom, path: Path) -> list[Path]:
    """Return where the module of an import may lie, without its suffix."""
    parts = (node.module or "").split(".") if node.module else []
    if node.level:
        folder = path.parent
        for _ in range(node.level - 1):
            folder = folder.parent
        return [folder.joinpath(*parts)] if parts else []
    # Of an absolute name only the user's own files count: those in folders around this one.
    return [folder.joinpath(*parts) for folder in path.parents if (folder / parts[0]).exists() or len(parts) == 1]


def last(node: ast.expr) -> str:
    """Return the last part of a dotted name, of a call that of what is called."""
    if isinstance(node, ast.Call):
        return last(node.func)
    return node.attr if isinstance(node, ast.Attribute) else (node.id if isinstance(node, ast.Name) else "")


def own_names(names: Sequence[ast.alias], there: Collection[str]) -> list[tuple[str, str]]:
    """Return (name here, name there) of what is imported, of those names that the other file has."""
    return [(item.asname or item.name, item.name) for item in names if item.name in there]
