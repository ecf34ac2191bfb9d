# SPDX-License-Identifier: Apache-2.0
"""Run an op with one line of its gradient edited: the code of a function of the user's is exchanged for a while."""

from __future__ import annotations
import __future__

import ast
import contextlib
import gc
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import tensorflow as tf

from gradcheck.backend.tensorflow.recorder import Recorder, Rule
from gradcheck.scanning.returns import function_at, read_file
from gradcheck.scanning.slices import assigned
from gradcheck.scanning.syntax import Edit, Function, Syntax, called, names_read


@dataclass(frozen=True, slots=True)
class Editable:
    """Hold the live functions whose code holds a grad_fn, and the statement of the file around them."""

    owners: tuple[types.FunctionType, ...]
    syntax: Syntax
    statement: ast.stmt
    lines: Sequence[str]
    recorder: Recorder = field(repr=False)
    place: tuple[str, int] = ("", 0)

    def holds(self, line: int) -> bool:
        """Return whether a line of the file is one of the statement."""
        first, last = _span(self.statement)
        return first <= line <= last

    def whole_line(self, number: int, text: str) -> Edit:
        """Return the edit that puts a text in the place of a line, with its indent."""
        line = self.lines[number - 1]
        indent = len(line) - len(line.lstrip())
        return Edit(number, indent, len(line.encode()), text)

    def line_after(self, edit: Edit) -> str:
        """Return the edited line."""
        return edit.applied(self.lines[edit.line - 1])

    def compiled(self, edit: Edit) -> Compiled:
        """Return the code after an edit; raises SyntaxError or ValueError for one that cannot be."""
        first, last = _span(self.statement)
        lines = list(self.lines[first - 1 : last])
        lines[edit.line - first] = self.line_after(edit)
        text = "\n" * (first - 1) + "\n".join(lines) + "\n"
        own = self.owners[0].__code__
        # With what the user's file imports from __future__, not this one.
        whole = compile(text, own.co_filename, "exec", flags=own.co_flags & _FUTURE, dont_inherit=True)
        codes = {_place(code): code for code in _codes(whole)}
        return Compiled(self, codes, self._reaches_live(edit, codes))

    def _reaches_live(self, edit: Edit, codes: dict[tuple[str, int], types.CodeType]) -> bool:
        live = [f.__code__ for f in self.owners if _place(f.__code__) == self.place]
        function = self.syntax.function
        inside = function.lineno <= edit.line <= (function.end_lineno or function.lineno)
        return (
            inside
            and bool(live)
            and all((new := codes.get(self.place)) is not None and new.co_freevars == code.co_freevars for code in live)
        )


@dataclass(frozen=True, slots=True)
class Compiled:
    """Hold the code of every function of the statement after an edit.

    `reaches_live` says whether it changes the grad_fns that are live, which read no more names then than before.
    """

    part: Editable
    codes: dict[tuple[str, int], types.CodeType] = field(repr=False)
    reaches_live: bool

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Let the op run with the edit inside the block."""
        owners, recorder = self.part.owners, self.part.recorder
        before = [owner.__code__ for owner in owners]
        noted = recorder.kept()
        recorder.edited = True
        for owner in owners:
            new = self.codes.get(_place(owner.__code__))
            if new is not None and new.co_freevars == owner.__code__.co_freevars:
                owner.__code__ = new
        try:
            yield
        finally:
            recorder.edited = False
            for owner, code in zip(owners, before, strict=True):
                owner.__code__ = code
            recorder.put_back(noted)


# The flags of `annotations` and of what else may be imported from __future__.
_FUTURE = __future__.annotations.compiler_flag | __future__.generator_stop.compiler_flag


def editables(rule: Rule, recorder: Recorder) -> list[Editable]:
    """Return what may be edited of a rule of the user's: its grad_fn, then functions of the file that only it calls.

    Nothing where its source or its live functions are not found.
    """
    own = _of_grad_fn(rule, recorder)
    return [] if own is None else [own, *_of_helpers(own, rule)]


def _of_helpers(own: Editable, rule: Rule) -> Iterator[Editable]:
    """Yield the functions of a file that a grad_fn calls and the forward does not."""
    read = read_file(rule.file)
    body = [] if read is None else read[0].body
    grad = (node for whole in (own.syntax.function, *own.syntax.helpers) for node in ast.walk(whole))
    of_forward = called(names_read(own.syntax.outside), body)
    for name, statement in called(names_read(grad), body).items():
        if name in of_forward or not isinstance(statement, ast.FunctionDef):
            continue
        syntax = Syntax(statement, _names(statement, statement), own.lines, own.syntax.library, _no_tensors(statement))
        functions = _of_every_copy(name, own.owners, rule.file)
        if functions:
            place = _place(functions[0].__code__)
            yield Editable(functions, syntax, statement, own.lines, own.recorder, place)


def _of_every_copy(name: str, owners: Sequence[types.FunctionType], file: str) -> tuple[types.FunctionType, ...]:
    """Return the functions of a name in a file: the module may have been loaded more than once."""
    found = {id(owner.__globals__): owner.__globals__.get(name) for owner in owners}
    plain = (function for function in found.values() if type(function) is types.FunctionType)
    return tuple(function for function in plain if function.__code__.co_filename == file)


def _of_grad_fn(rule: Rule, recorder: Recorder) -> Editable | None:
    read = read_file(rule.file)
    found = None if read is None else function_at(rule.file, rule.line, rule.function)
    if read is None or not isinstance(found, Function):
        return None
    tree, lines = read
    statement = next((s for s in tree.body if _span(s)[0] <= found.lineno <= _span(s)[1]), None)
    owners = _owners(rule)
    if statement is None or not owners:
        return None
    library = next((name for name, value in owners[0].__globals__.items() if value is tf), "tf")
    syntax = Syntax(found, _names(statement, found), lines, library, _no_tensors(statement))
    return Editable(owners, syntax, statement, lines, recorder, (rule.function, rule.line))


def _span(statement: ast.stmt) -> tuple[int, int]:
    """Return the first line of a statement, its decorators included, and the last."""
    decorators = [node.lineno for node in getattr(statement, "decorator_list", [])]
    return min([statement.lineno, *decorators]), statement.end_lineno or statement.lineno


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _place(code: types.CodeType) -> tuple[str, int]:
    return code.co_name, code.co_firstlineno


def _owners(rule: Rule) -> tuple[types.FunctionType, ...]:
    """Return every live function whose code holds that of a grad_fn: which of them makes it is not known.

    A factory may have made several ops of one code, and traced graphs keep grad_fns of earlier calls.
    """
    functions = (value for value in gc.get_objects() if type(value) is types.FunctionType)
    own = (function for function in functions if function.__code__.co_filename == rule.file)
    wanted = (rule.function, rule.line)
    return tuple(f for f in own if any(_place(code) == wanted for code in _codes(f.__code__)))


def _names(statement: ast.stmt, function: Function) -> tuple[str, ...]:
    """Return the names that a grad_fn may mean: its own, then those of the functions around it and inside it."""
    functions = [node for node in ast.walk(statement) if isinstance(node, (ast.FunctionDef, ast.Lambda))]
    around = [node for node in functions if _holds(node, function)]
    inside = [node for node in functions if _holds(function, node) and node is not function]
    found: dict[str, None] = {}
    for node in (*sorted(around, key=lambda node: -node.lineno), *inside):
        found |= dict.fromkeys(_own_names(node))
    return tuple(found)


def _own_names(function: Function) -> Iterator[str]:
    """Yield the names of a function's arguments, and those that it assigns."""
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    yield from (argument.arg for argument in every if argument.arg not in ("self", "variables"))
    body = function.body if isinstance(function.body, list) else []
    for part in (p for s in body for p in ast.walk(s) if not isinstance(s, ast.FunctionDef)):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store) and part.id != "_":
            yield part.id


def _no_tensors(statement: ast.stmt) -> frozenset[str]:
    """Return the names of a statement that are given lists, functions or numbers alone."""
    given: dict[str, list[ast.expr]] = {}
    for node in ast.walk(statement):
        for target, whole in ((t, node.value) for t in node.targets) if isinstance(node, ast.Assign) else ():
            for name, value in assigned(target, whole):
                given.setdefault(name, []).append(value)
    return frozenset(name for name, values in given.items() if all(isinstance(v, _NO_TENSORS) for v in values))


# Expressions that are no tensors, whatever is in them.
_NO_TENSORS = (ast.List, ast.ListComp, ast.Dict, ast.DictComp, ast.Lambda)


def _holds(node: ast.FunctionDef | ast.Lambda, inner: Function) -> bool:
    return node.lineno <= inner.lineno and (node.end_lineno or 0) >= (inner.end_lineno or 0)
