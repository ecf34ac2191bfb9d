# SPDX-License-Identifier: Apache-2.0
"""The line of a function's source that returns a value."""

from __future__ import annotations

import ast
import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gradcheck.files import shown
from gradcheck.results import Source

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass(frozen=True, slots=True)
class Line:
    """Hold a line of a file, and its text."""

    line: int
    text: str


def returning_line(
    file: str, first: int, name: str, position: int | None, count: int, ran: Sequence[int] = ()
) -> Line | None:
    """Return the line on which a function returns its value, or makes the element of it that is asked for.

    `first` and `name` are those of the function's code object; `position` is the place, among `count`
    returned values, of the one that is meant; `ran` the lines that ran, the return last, none where that is not known.
    None where the source cannot be read.
    """
    read = read_file(file)
    if read is None:
        return None
    lines = read[1]
    function = function_at(file, first, name)
    if function is None:
        return _line(lines, first)
    value = _value(function, ran[-1] if ran else 0)
    if value is None:
        return _line(lines, function.lineno)
    statement, expression = value
    meant = statement
    if isinstance(expression, (ast.Tuple, ast.List)) and position is not None and len(expression.elts) == count:
        meant = expression = expression.elts[position]
    made = None if isinstance(function, ast.Lambda) else _made(function, expression, statement.lineno, ran)
    return _line(lines, made or meant.lineno)


def _made(function: _Function, expression: ast.expr, before: int, ran: Sequence[int]) -> int | None:
    """Return the line on which a name that is returned got its value last, None for what is no name of the function."""
    if not isinstance(expression, ast.Name) or isinstance(function, ast.Lambda):
        return None
    lines = [
        node.lineno
        for node in own_nodes(function.body)
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)) and node.lineno < before
        if not ran or any(node.lineno <= line <= (node.end_lineno or node.lineno) for line in ran)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        for name in ast.walk(target)
        if isinstance(name, ast.Name) and name.id == expression.id and isinstance(name.ctx, ast.Store)
    ]
    return max(lines, default=None)


def has_branches(file: str, first: int, name: str) -> bool:
    """Return whether a function may return or make a value in several places."""
    function = function_at(file, first, name)
    if function is None or isinstance(function, ast.Lambda):
        return False
    forks = (ast.If, ast.Try, ast.For, ast.While, ast.Match)
    return len(_returns(function)) > 1 or any(isinstance(node, forks) for node in own_nodes(function.body))


def line_at(file: str, line: int) -> Line:
    """Return a line with its text, which is empty where the file cannot be read."""
    read = read_file(file)
    return _line(read[1], line) if read is not None else Line(line, "")


def source_at(file: str, line: int) -> Source:
    """Return a line of a file, by its path from the current folder if it lies below it."""
    return Source(shown(file), line, "", line_at(file, line).text)


def _value(function: _Function, ran: int) -> tuple[ast.stmt | ast.expr, ast.expr] | None:
    """Return the statement that returns a value (the one that ran, else the last), and the value."""
    if isinstance(function, ast.Lambda):
        return function.body, function.body
    found = _returns(function)
    chosen = [node for node in found if node.lineno <= ran <= (node.end_lineno or node.lineno)]
    last = max(chosen or found, key=lambda node: node.lineno, default=None)
    return (last, last.value) if last is not None and last.value is not None else None


def _returns(function: _Function) -> list[ast.Return]:
    if isinstance(function, ast.Lambda):
        return []
    return [node for node in own_nodes(function.body) if isinstance(node, ast.Return) and node.value is not None]


def read_file(file: str) -> tuple[ast.Module, tuple[str, ...]] | None:
    """Return the syntax tree and the lines of a file, None where it cannot be read."""
    return _read(file, _stamp(file))


def function_at(file: str, first: int, name: str) -> _Function | None:
    """Return the function whose code object has this first line and name, None where it is not found."""
    read = read_file(file)
    nodes = () if read is None else ast.walk(read[0])
    return next((node for node in nodes if isinstance(node, _Function) and _is(node, first, name)), None)


def own_nodes(body: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """Yield the nodes of a function's body, those of functions in it left out."""
    for node in body:
        yield node
        if not isinstance(node, (*_Function.__args__, ast.ClassDef)):
            yield from own_nodes(list(ast.iter_child_nodes(node)))


def _is(node: _Function, first: int, name: str) -> bool:
    if isinstance(node, ast.Lambda):
        return name == "<lambda>" and node.lineno == first
    return node.name == name and min([node.lineno, *(d.lineno for d in node.decorator_list)]) == first


def _line(lines: Sequence[str], number: int) -> Line:
    return Line(number, lines[number - 1].strip() if 0 < number <= len(lines) else "")


def _stamp(file: str) -> int:
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return 0


@functools.lru_cache(maxsize=32)
def _read(file: str, stamp: int) -> tuple[ast.Module, tuple[str, ...]] | None:
    """Return the syntax tree and the lines of a file as it was at `stamp`, None where it cannot be read."""
    try:
        with open(file, "rb") as stream:
            text = stream.read()
        return ast.parse(text, file), tuple(text.decode("utf-8", "replace").splitlines())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
