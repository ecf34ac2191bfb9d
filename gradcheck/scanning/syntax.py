# SPDX-License-Identifier: Apache-2.0
"""The syntax of a grad_fn, and texts in the place of parts of it: pure syntax, nothing is run."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from gradcheck.scanning.returns import own_nodes

_ATOMS = (ast.Name, ast.Call, ast.Constant, ast.Attribute, ast.Subscript)
# How near a number is to a whole or short one that is one, and the digits of a short one.
_WHOLE, _DIGITS = 1e-6, 3
# Functions that loop while something holds.
_ENDLESS = ("while_loop",)

# Functions that make one tensor of several, each of which is a part of it.
_CHOOSING = ("where", "concat", "stack", "select")

Function = ast.FunctionDef | ast.Lambda


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the bytes from `start` to `end` of a line by a text; `cause` is the mistake that this undoes."""

    line: int
    start: int
    end: int
    text: str
    cause: str = ""

    def applied(self, line: str) -> str:
        """Return the line after the edit."""
        raw = line.encode()
        return (raw[: self.start] + self.text.encode() + raw[self.end :]).decode()


@dataclass(slots=True)
class Syntax:
    """Hold a grad_fn, the names that it sees, and which of them are known to be no tensors.

    Functions beside it that it alone calls (`helpers`) are part of the gradient; all else of the op is
    `outside`, and what it gives names `given_outside`.  `conditions_of_loops` say whether a loop goes on.
    """

    function: Function
    names: tuple[str, ...]
    lines: Sequence[str]
    library: str = "tf"
    no_tensors: frozenset[str] = frozenset()
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)
    outside: list[ast.expr] = field(default_factory=list)
    given_outside: list[ast.Assign] = field(default_factory=list)
    helpers: list[ast.stmt] = field(default_factory=list)
    conditions_of_loops: list[ast.AST] = field(default_factory=list)

    def __post_init__(self) -> None:
        beyond = self._beyond()
        self.helpers = helpers_of(self.function, beyond)
        inside = {id(node) for helper in self.helpers for node in ast.walk(helper)}
        self.outside = [n for n in beyond if isinstance(n, ast.expr) and id(n) not in inside]
        self.given_outside = [n for n in beyond if isinstance(n, ast.Assign) and id(n) not in inside]
        for whole in (self.function, *self.helpers):
            for node in ast.walk(whole):
                self.parents.update(dict.fromkeys(ast.iter_child_nodes(node), node))
        self.conditions_of_loops = self._conditions_of_loops()

    @property
    def may_loop_on(self) -> bool:
        """Return whether the function loops for as long as a condition holds."""
        return bool(self.conditions_of_loops)

    def _call_of(self, argument: ast.AST) -> ast.AST | None:
        """Return what an argument is given to."""
        parent = self.parents.get(argument)
        return self.parents.get(parent) if isinstance(parent, ast.keyword) else parent

    def _conditions_of_loops(self) -> list[ast.AST]:
        """Return what says whether a loop goes on; functions that are named there are found by their names."""
        found: list[ast.AST] = []
        for node in self.nodes():
            if isinstance(node, ast.While):
                found.append(node.test)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _ENDLESS:
                found += [*node.args[:1], *(k.value for k in node.keywords if k.arg == "cond")]
        names = names_read(found)
        return [*found, *(node for node in self.nodes() if _function_named(node) in names)]

    def nodes(self) -> Iterator[ast.AST]:
        """Yield all nodes of the function's body, and of its helpers."""
        body = self.function.body
        parts = [*(body if isinstance(body, list) else [body]), *self.helpers]
        yield from (node for part in parts for node in ast.walk(part))

    def expressions(self) -> list[ast.expr]:
        """Return the expressions of the body that stand in one line, without what decides how long a loop goes on."""
        deciding = {id(part) for condition in self.conditions_of_loops for part in ast.walk(condition)}
        # The call that loops, too: its arguments exchanged, another one would decide.
        deciding |= {id(self._call_of(condition)) for condition in self.conditions_of_loops}
        expressions = (node for node in self.nodes() if isinstance(node, ast.expr) and id(node) not in deciding)
        return [node for node in expressions if node.lineno == node.end_lineno]

    def returned(self) -> list[ast.expr]:
        """Return the expressions of the gradients that are returned."""
        if isinstance(self.function, ast.Lambda):
            values = [self.function.body]
        else:
            own = own_nodes(self.function.body)
            values = [n.value for n in own if isinstance(n, ast.Return) and n.value is not None]
        return [part for value in values for part in parts_of(value)]

    def values(self, nodes: Sequence[ast.expr]) -> list[ast.expr]:
        """Return expressions that are gradients, or parts of them: returned, assigned, or terms of a sum."""
        known = {id(node) for node in nodes}
        found = [node for node in self.returned() if id(node) in known]
        for node in self.nodes():
            if isinstance(node, (ast.Assign, ast.AugAssign, ast.Return)) and node.value is not None:
                found += [part for part in parts_of(node.value) if id(part) in known]
            elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
                found += [part for part in (node.left, node.right) if id(part) in known]
            elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
                found += [part for part in (node.left, node.right) if id(part) in known and number_of(part) is None]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CHOOSING:
                chosen = [part for argument in node.args for part in parts_of(argument) if id(part) in known]
                found += [part for part in chosen if not isinstance(part, (ast.Constant, ast.Compare))]
        return list({id(node): node for node in found}.values())

    def inputs(self) -> list[str]:
        """Return the names of tensors without the upstreams, in which a gradient is linear already."""
        own = {argument.arg for argument in self.function.args.args}
        return [name for name in self.names if name not in own and name not in self.no_tensors]

    def filled(self, form: str, name: str) -> str:
        """Return a form with the name of a tensor in it, in the words of the user's file."""
        return self.own(form.format(n=name, u=self.upstream or name))

    @property
    def upstream(self) -> str | None:
        """Return the name of the first upstream, None where they come in a tuple."""
        arguments = self.function.args.args
        return arguments[0].arg if arguments else None

    def counters(self) -> list[str]:
        """Return the names that count the steps of loops in the function."""
        loops = [node for node in self.nodes() if isinstance(node, (ast.For, ast.comprehension))]
        targets = (name for loop in loops for name in ast.walk(loop.target))
        return list(dict.fromkeys(name.id for name in targets if isinstance(name, ast.Name)))

    def text(self, node: ast.expr) -> str:
        """Return the text of an expression that stands in one line."""
        raw = self.lines[node.lineno - 1].encode()
        return raw[node.col_offset : node.end_col_offset].decode()

    def as_factor(self, node: ast.expr) -> str:
        """Return an expression as it stands in a product."""
        text = self.text(node)
        product = isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div))
        return text if product or isinstance(node, _ATOMS) else f"({text})"

    def bracketed(self, node: ast.expr, text: str) -> str:
        """Return a text for the place of an expression, in brackets where it would bind otherwise."""
        parent = self.parents.get(node)
        try:
            inner: ast.expr = ast.parse(text, mode="eval").body
        except SyntaxError:
            inner = node
        if isinstance(parent, (ast.BinOp, ast.UnaryOp)) and not isinstance(inner, _ATOMS):
            return text if _binds(inner, parent, node) else f"({text})"
        return text

    def put(self, node: ast.expr, text: str) -> Edit:
        """Return the edit that puts a text in the place of an expression."""
        end = node.end_col_offset or node.col_offset
        return Edit(node.lineno, node.col_offset, end, self.bracketed(node, text))

    def put_all(self, nodes: Sequence[ast.expr], texts: Sequence[str]) -> Edit:
        """Return the edit that puts a text in the place of each of the expressions of one line, in their order."""
        places = ((node.col_offset, node.end_col_offset or 0) for node in nodes)
        line = nodes[0].lineno
        return self.put_pieces([Edit(line, *place, text) for place, text in zip(places, texts, strict=True)])

    def put_pieces(self, pieces: Sequence[Edit]) -> Edit:
        """Return one edit that does what several do that follow one another in a line."""
        raw = self.lines[pieces[0].line - 1].encode()
        start, end = pieces[0].start, pieces[-1].end
        found, at = b"", start
        for piece in pieces:
            found += raw[at : piece.start] + piece.text.encode()
            at = piece.end
        return Edit(pieces[0].line, start, end, found.decode())

    def between(self, left: ast.expr, right: ast.expr) -> str:
        """Return the text between two expressions of one line."""
        raw = self.lines[left.lineno - 1].encode()
        return raw[left.end_col_offset : right.col_offset].decode()

    def own(self, text: str) -> str:
        """Return a text with TensorFlow under the name that the user's file gives it."""
        return text if self.library == "tf" else text.replace("tf.", f"{self.library}.")

    def _beyond(self) -> list[ast.AST]:
        """Return the nodes of the op around this function, the function itself left out."""
        try:
            tree = ast.parse("\n".join(self.lines))
        except SyntaxError:
            return []
        first, last = self.function.lineno, self.function.end_lineno or self.function.lineno
        around = (n for n in tree.body if n.lineno <= first and last <= (n.end_lineno or 0))
        nodes = (n for top in around for n in ast.walk(top) if isinstance(n, (ast.expr, ast.stmt)))
        return [n for n in nodes if n.lineno < first or n.lineno > last or self._is_beside(n, first)]

    def _is_beside(self, node: ast.expr | ast.stmt, line: int) -> bool:
        """Return whether an expression stands in the function's own line, before it."""
        return node.lineno == line and node.col_offset < self.function.col_offset


def helpers_of(function: Function, beyond: Sequence[ast.AST]) -> list[ast.stmt]:
    """Return the functions beside a grad_fn that it alone calls, by name; `beyond` are the nodes around it."""
    found = called(names_read(ast.walk(function)), beyond)
    inside = {id(node) for helper in found.values() for node in ast.walk(helper)}
    used = names_read(node for node in beyond if id(node) not in inside)
    return [helper for name, helper in found.items() if name not in used]


def called(names: set[str], among: Sequence[ast.AST]) -> dict[str, ast.stmt]:
    """Return the functions of some statements that have one of the names, by name, and those that these call."""
    statements = [node for node in among if isinstance(node, ast.stmt)]
    named = {name: node for node in statements if (name := _function_named(node)) is not None}
    found: dict[str, ast.stmt] = {}
    left = set(names)
    while left:
        name = left.pop()
        if name in named and name not in found:
            found[name] = named[name]
            left |= names_read(ast.walk(named[name]))
    return found


def names_read(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the names that some nodes, not what is in them, read."""
    return {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _function_named(node: ast.AST) -> str | None:
    """Return the name that a statement gives a function, None for another statement."""
    if isinstance(node, ast.FunctionDef):
        return None if node.decorator_list else node.name
    target = node.targets[0] if isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda) else None
    return target.id if isinstance(target, ast.Name) else None


def on_lines(nodes: Sequence[ast.expr]) -> Iterator[list[ast.expr]]:
    """Yield the expressions of each line, from left to right."""
    for line in dict.fromkeys(node.lineno for node in nodes):
        yield sorted((n for n in nodes if n.lineno == line), key=lambda n: n.col_offset)


def written(number: float) -> str:
    """Return a number as people write it."""
    if isinstance(number, int):
        return str(number)
    return f"{number:.1f}" if float(number).is_integer() else f"{number:.9g}"


def undone(ratio: float) -> str:
    """Return what takes a factor out of a product: `/ 1.5`, of a third `* 3.0`, of 10 / 9 `* 0.9`."""
    inverse = as_multiplier(ratio)
    return f"/ {written(ratio)}" if inverse is None else f"* {written(inverse)}"


def is_written(ratio: float) -> bool:
    """Return whether a factor, or one over it, is a number of few digits: one that people write, and no fitted one."""
    return as_multiplier(ratio) is not None or _is_short(ratio, _WHOLE)


def as_multiplier(ratio: float, rtol: float = _WHOLE) -> float | None:
    """Return the number to multiply with where people would not divide by `ratio`: a whole or the shorter number.

    `ratio` is known up to the relative error `rtol`.
    """
    inverse = 1.0 / ratio
    if abs(ratio) < 1 and abs(inverse - round(inverse)) < rtol * abs(inverse):
        return float(round(inverse))
    is_shorter = _is_short(inverse, rtol) and not _is_short(ratio, rtol)
    return float(f"{inverse:.{_DIGITS}g}") if is_shorter else None


def _is_short(number: float, rtol: float) -> bool:
    return abs(number - float(f"{number:.{_DIGITS}g}")) < rtol * abs(number)


def parts_of(value: ast.expr) -> list[ast.expr]:
    """Return the elements of a tuple or list, nested ones too; the value itself if it is neither."""
    if isinstance(value, (ast.Tuple, ast.List)):
        return [part for element in value.elts for part in parts_of(element)]
    return [value]


def number_of(node: ast.AST) -> int | float | None:
    """Return the number that an expression is, None if it is another thing."""
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _binds(inner: ast.expr, parent: ast.BinOp | ast.UnaryOp, node: ast.expr) -> bool:
    """Return whether a product may stand without brackets where `node` stands (in a sum, or first in a product), or a
    value with a sign (in a sum)."""
    if not isinstance(parent, ast.BinOp) or isinstance(parent.op, (ast.Pow, ast.MatMult)):
        return False
    if isinstance(inner, ast.UnaryOp) and isinstance(parent.op, (ast.Add, ast.Sub)):
        return True
    product = isinstance(inner, ast.BinOp) and isinstance(inner.op, (ast.Mult, ast.Div))
    return product and (node is parent.left or isinstance(parent.op, (ast.Add, ast.Sub)))
