# SPDX-License-Identifier: Apache-2.0
"""Small edits of a grad_fn that undo what people get wrong in one place: pure syntax, nothing is run.

An edit replaces part of one line; which of them mends a gradient is for others to try (program repair by
mutation; Weimer and others 2009, Debroy and Wong 2010).
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from gradcheck.scanning.axis_lists import axes_of_a_line, other_axes, other_orders
from gradcheck.scanning.edit_causes import BY_FAMILY, by_meaning, cause_of
from gradcheck.scanning.forms import DIVISORS, FACTORS, MEANS, RARE_FACTORS, TERMS, WRAPS
from gradcheck.scanning.function_names import BOTH_SWITCHES, SWITCHES, others_of
from gradcheck.scanning.returns import own_nodes
from gradcheck.scanning.swapped_names import swapped_names

_FLIPPED = {ast.Gt: "<", ast.Lt: ">", ast.GtE: "<=", ast.LtE: ">="}
_OTHER_SIGN = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*"}
_AXES = (-1, 0, 1)
# Numbers elsewhere in an op that a threshold is exchanged for.
NUMBERS_TRIED = 12
_INTEGERS, _FLOATS = (0, 1, 2, -1, -2), (0.0, 0.5, 1.0, 2.0, 3.0, -1.0)
_ATOMS = (ast.Name, ast.Call, ast.Constant, ast.Attribute, ast.Subscript)
# A gradient that loops while something holds may never end with another number in it.
_ENDLESS = ("while_loop",)

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
class Rule:
    """Hold the syntax of a grad_fn, and the names of tensors that it sees."""

    function: Function
    names: tuple[str, ...]
    lines: Sequence[str]
    library: str = "tf"
    _parents: dict[ast.AST, ast.AST] = field(default_factory=dict)
    _outside: list[ast.expr] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._outside = self._beyond()
        for node in ast.walk(self.function):
            for child in ast.iter_child_nodes(node):
                self._parents[child] = node

    def edits(self, ratio: float | None, cause: str | None = None) -> Iterator[Edit]:
        """Yield edits, likely ones first: those that undo `cause`, where the mistake has a name already.

        `ratio` is what the gradient is to be divided by, where it is one number.
        """
        nodes = [node for node in self._nodes() if isinstance(node, ast.expr) and node.lineno == node.end_lineno]
        values = self._values(nodes)
        thresholds, axes, others = by_meaning([n for n in nodes if _number(n) is not None], self._parents)
        families = (
            ("thresholds", (e for node in thresholds for e in self._numbers(node, ratio))),
            ("numbers", (e for node in others for e in self._numbers(node, ratio))),
            ("axes", (e for node in axes for e in self._numbers(node, ratio))),
            ("axes", (self._with(n, text) for n in nodes for text in other_axes(n, self._parents, self._outside))),
            ("axes", (Edit(*place) for place in axes_of_a_line(nodes, self._parents, self._outside, self.lines))),
            ("axes", (self._with(node, text) for node in nodes for text in other_orders(node, self._parents))),
            ("signs", (e for node in values for e in self._signs(node))),
            ("operators", (e for node in nodes for e in self._operators(node))),
            ("calls", (e for node in nodes for e in self._calls(node))),
            ("comparisons", (e for node in nodes for e in self._comparisons(node))),
            ("names", (e for node in nodes for e in self._names(node))),
            ("names", (Edit(*place) for place in swapped_names(nodes, self.names, self.lines))),
            ("exchanged", self._exchanged()),
            ("factors", (e for node in values for e in self._divided(node, ratio))),
            ("factors", (e for node in values for e in self._multiplied(node, FACTORS))),
            ("terms", (e for node in values for e in self._terms(node))),
            ("wraps", (e for node in values for e in self._wrapped(node))),
            ("factors", (e for node in values for e in self._divided_by_names(node))),
            ("signs", (self._with(node, f"-{node.id}") for node in self._handed_on(nodes))),
            ("operators", (e for node in nodes for e in self._other_operands(node))),
            ("factors", (e for node in values for e in self._multiplied(node, RARE_FACTORS))),
        )
        for family, edits in sorted(families, key=lambda pair: BY_FAMILY[pair[0]] != cause):
            for edit in edits:
                before = self.lines[edit.line - 1].encode()[edit.start : edit.end].decode()
                yield replace(edit, cause=cause_of(family, edit.text, before))

    @property
    def may_not_end(self) -> bool:
        """Return whether the function loops for as long as a condition holds."""
        nodes = list(ast.walk(self.function))
        return any(isinstance(node, ast.While) for node in nodes) or any(
            isinstance(node, ast.Attribute) and node.attr in _ENDLESS for node in nodes
        )

    def _nodes(self) -> Iterator[ast.AST]:
        body = self.function.body
        yield from (node for part in (body if isinstance(body, list) else [body]) for node in ast.walk(part))

    def returned(self) -> list[ast.expr]:
        """Return the expressions of the gradients that are returned."""
        if isinstance(self.function, ast.Lambda):
            values = [self.function.body]
        else:
            own = own_nodes(self.function.body)
            values = [n.value for n in own if isinstance(n, ast.Return) and n.value is not None]
        return [part for value in values for part in _parts(value)]

    def _values(self, nodes: Sequence[ast.expr]) -> list[ast.expr]:
        """Return expressions that are gradients, or parts of them: returned, assigned, or terms of a sum."""
        known = {id(node) for node in nodes}
        found = [node for node in self.returned() if id(node) in known]
        for node in self._nodes():
            if isinstance(node, (ast.Assign, ast.AugAssign)):
                found += [part for part in _parts(node.value) if id(part) in known]
            elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
                found += [part for part in (node.left, node.right) if id(part) in known]
            elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
                found += [part for part in (node.left, node.right) if id(part) in known and _number(part) is None]
        return list({id(node): node for node in found}.values())

    def _text(self, node: ast.expr) -> str:
        raw = self.lines[node.lineno - 1].encode()
        return raw[node.col_offset : node.end_col_offset].decode()

    def _as_factor(self, node: ast.expr) -> str:
        """Return an expression as it stands in a product."""
        text = self._text(node)
        product = isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div))
        return text if product or isinstance(node, _ATOMS) else f"({text})"

    def _with(self, node: ast.expr, text: str) -> Edit:
        """Return the edit that puts a text in the place of an expression, in brackets where it would bind otherwise."""
        parent = self._parents.get(node)
        try:
            inner: ast.expr = ast.parse(text, mode="eval").body
        except SyntaxError:
            inner = node
        if isinstance(parent, (ast.BinOp, ast.UnaryOp)) and not isinstance(inner, _ATOMS):
            text = text if _binds(inner, parent, node) else f"({text})"
        return Edit(node.lineno, node.col_offset, node.end_col_offset or node.col_offset, text)

    def _numbers(self, node: ast.expr, ratio: float | None) -> Iterator[Edit]:
        value = _number(node)
        if value is None:
            return
        if isinstance(self._parents.get(node), ast.Compare):
            # A threshold that no input reaches mends nothing: only one that stands elsewhere in the op is meant.
            others: list[float] = [n for n in self._numbers_outside() if type(n) is type(value)]
        elif isinstance(value, int):
            others = [*_INTEGERS, value + 1, value - 1]
        else:
            exact = [value / ratio, value * ratio] if ratio else []
            near = [value + 1, value - 1, value * 2, value / 2, -value, *([1 / value] if value else [])]
            others = [*exact, *_FLOATS, *near]
        for other in dict.fromkeys(others):
            if other != value:
                yield self._with(node, written(other))

    def _numbers_outside(self) -> list[float]:
        """Return the numbers in the op around this function, the function itself left out."""
        return list(dict.fromkeys(n for e in self._outside if (n := _number(e)) is not None))[:NUMBERS_TRIED]

    def _beyond(self) -> list[ast.expr]:
        """Return the expressions of the op around this function, the function itself left out."""
        try:
            tree = ast.parse("\n".join(self.lines))
        except SyntaxError:
            return []
        first, last = self.function.lineno, self.function.end_lineno or self.function.lineno
        around = (n for n in tree.body if n.lineno <= first and last <= (n.end_lineno or 0))
        nodes = (node for top in around for node in ast.walk(top) if isinstance(node, ast.expr))
        return [n for n in nodes if n.lineno < first or n.lineno > last or self._is_beside(n, first)]

    def _is_beside(self, node: ast.expr, line: int) -> bool:
        """Return whether an expression stands in the function's own line, before it."""
        return node.lineno == line and node.col_offset < self.function.col_offset

    def _signs(self, node: ast.expr) -> Iterator[Edit]:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            yield self._with(node, self._text(node.operand))
        elif _number(node) is None:
            yield self._with(node, f"-{self._as_factor(node)}")

    def _operators(self, node: ast.expr) -> Iterator[Edit]:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            yield self._with(node, self._text(node.operand))
        if not isinstance(node, ast.BinOp):
            return
        left, right = self._text(node.left), self._text(node.right)
        if type(node.op) in _OTHER_SIGN:
            raw = self.lines[node.lineno - 1].encode()
            between = raw[node.left.end_col_offset : node.right.col_offset]
            place = between.find({ast.Add: b"+", ast.Sub: b"-", ast.Mult: b"*", ast.Div: b"/"}[type(node.op)])
            start = (node.left.end_col_offset or 0) + place
            yield Edit(node.lineno, start, start + 1, _OTHER_SIGN[type(node.op)])
        if isinstance(node.op, (ast.Sub, ast.Div, ast.MatMult)):
            sign = {ast.Sub: "-", ast.Div: "/", ast.MatMult: "@"}[type(node.op)]
            yield self._with(node, f"{self._as_factor(node.right)} {sign} {self._as_factor(node.left)}")
        if isinstance(node.op, ast.MatMult):
            yield self._with(node, f"{self._matrix(node.left)} @ {right}")
            yield self._with(node, f"{left} @ {self._matrix(node.right)}")
        yield self._with(node, left)
        yield self._with(node, right)

    def _matrix(self, node: ast.expr) -> str:
        return f"{self.library}.transpose({self._text(node)})"

    def _calls(self, node: ast.expr) -> Iterator[Edit]:
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            return
        name, arguments = node.func.attr, [self._text(a) for a in (*node.args, *(k.value for k in node.keywords))]
        given = {keyword.arg: keyword for keyword in node.keywords}
        end = (node.end_col_offset or 1) - 1
        for switch in SWITCHES.get(name, ()):
            if switch in given:
                value = given[switch].value
                off = isinstance(value, ast.Constant) and value.value is True
                yield self._with(value, "False" if off else "True")
            elif arguments:
                yield Edit(node.lineno, end, end, f", {switch}=True")
        if name in BOTH_SWITCHES and not given and arguments:
            yield Edit(node.lineno, end, end, BOTH_SWITCHES[name])
        if name == "matmul" and not given and len(node.args) == 2:
            for flags in ("", ", transpose_a=True", ", transpose_b=True"):
                yield self._with(node, f"{self._text(node.func)}({arguments[1]}, {arguments[0]}{flags})")
        if name == "gather" and len(node.args) > 1:
            yield self._with(node.args[1], self._own(f"tf.argsort({arguments[1]}, -1)"))
        stop = node.func.end_col_offset or 0
        for other in others_of(name):
            yield Edit(node.lineno, stop - len(name.encode()), stop, other)
        for one, next_one in itertools.pairwise(node.args):
            swapped = f"{self._text(next_one)}, {self._text(one)}"
            yield Edit(node.lineno, one.col_offset, next_one.end_col_offset or 0, swapped)
        if node.args:
            yield self._with(node, arguments[0])

    def _comparisons(self, node: ast.expr) -> Iterator[Edit]:
        if isinstance(node, ast.IfExp):
            yield self._with(node, self._text(node.body))
            yield self._with(node, self._text(node.orelse))
        if isinstance(node, ast.Compare) and type(node.ops[0]) in _FLIPPED and len(node.ops) == 1:
            left, right = self._text(node.left), self._text(node.comparators[0])
            yield self._with(node, f"{left} {_FLIPPED[type(node.ops[0])]} {right}")

    def _names(self, node: ast.expr) -> Iterator[Edit]:
        if isinstance(node, ast.Name) and node.id in self.names and isinstance(node.ctx, ast.Load):
            for other in self.names:
                if other != node.id:
                    yield self._with(node, other)

    def _handed_on(self, nodes: Sequence[ast.expr]) -> list[ast.Name]:
        """Return the tensors that a function of the user's own takes: an angle, the sine of a rotation."""
        calls = [n for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
        return [a for call in calls for a in call.args if isinstance(a, ast.Name) and a.id in self._inputs()]

    def _other_operands(self, node: ast.expr) -> Iterator[Edit]:
        """Yield products and quotients in which a tensor stands where a call does: its count for that of all."""
        right = node.right if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div)) else None
        if isinstance(right, ast.Call):
            for form, name in itertools.product(("{n}", "{n}[:, None]"), self._inputs()):
                yield self._with(right, form.format(n=name))

    def _exchanged(self) -> Iterator[Edit]:
        """Yield the returned gradients with two of them exchanged."""
        for one, other in itertools.combinations(self.returned(), 2):
            if one.lineno == other.end_lineno and self._parents.get(one) is self._parents.get(other):
                raw = self.lines[one.lineno - 1].encode()
                between = raw[one.end_col_offset : other.col_offset].decode()
                swapped = f"{self._text(other)}{between}{self._text(one)}"
                yield Edit(one.lineno, one.col_offset, other.end_col_offset or 0, swapped)

    def _wrapped(self, node: ast.expr) -> Iterator[Edit]:
        text = self._text(node)
        for form in WRAPS:
            yield self._with(node, self._own(form.format(e=text)))
        for form, axis in itertools.product(MEANS, _AXES):
            yield self._with(node, self._own(form.format(e=text, f=self._as_factor(node), a=axis)))

    def _inputs(self) -> list[str]:
        """Return the names without the upstreams, in which a gradient is linear already."""
        own = {argument.arg for argument in self.function.args.args}
        return [name for name in self.names if name not in own]

    def _divided(self, node: ast.expr, ratio: float | None) -> Iterator[Edit]:
        if ratio:
            yield self._with(node, f"{self._as_factor(node)} / {written(ratio)}")

    def _multiplied(self, node: ast.expr, forms: Sequence[str]) -> Iterator[Edit]:
        for form, name in itertools.product(forms, self._inputs()):
            yield self._with(node, f"{self._as_factor(node)} * {self._own(form.format(n=name))}")

    def _divided_by_names(self, node: ast.expr) -> Iterator[Edit]:
        for form, name in itertools.product(DIVISORS, self._inputs()):
            yield self._with(node, f"{self._as_factor(node)} / {self._own(form.format(n=name))}")

    def _terms(self, node: ast.expr) -> Iterator[Edit]:
        for form, name, axis in itertools.product(TERMS, self._inputs(), _AXES):
            yield self._with(node, self._own(form.format(e=self._text(node), f=self._as_factor(node), n=name, a=axis)))

    def _own(self, text: str) -> str:
        """Return a text with TensorFlow under the name that the user's file gives it."""
        return text if self.library == "tf" else text.replace("tf.", f"{self.library}.")


def written(number: float) -> str:
    """Return a number as people write it."""
    if isinstance(number, int):
        return str(number)
    return f"{number:.1f}" if float(number).is_integer() else f"{number:.9g}"


def _binds(inner: ast.expr, parent: ast.BinOp | ast.UnaryOp, node: ast.expr) -> bool:
    """Return whether a product may stand without brackets where `node` stands: first in a product or a sum."""
    if not isinstance(parent, ast.BinOp) or isinstance(parent.op, ast.Pow) or node is not parent.left:
        return False
    return isinstance(inner, ast.BinOp) and isinstance(inner.op, (ast.Mult, ast.Div))


def _parts(value: ast.expr) -> list[ast.expr]:
    """Return the elements of a tuple or list, nested ones too; the value itself if it is neither."""
    if isinstance(value, (ast.Tuple, ast.List)):
        return [part for element in value.elts for part in _parts(element)]
    return [value]


def _number(node: ast.AST) -> int | float | None:
    """Return the number that an expression is, None if it is another thing."""
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
