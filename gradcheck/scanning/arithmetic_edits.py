# SPDX-License-Identifier: Apache-2.0
"""Edits of the arithmetic of a grad_fn: other numbers, signs, operators, factors and terms."""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Iterator, Sequence

from gradcheck.scanning.edit_causes import is_length
from gradcheck.scanning.forms import CONSTANT_FACTORS, MATRICES, OF_ROWS, SLOPE_OF_SILU, SUMS, WRAPS
from gradcheck.scanning.syntax import Edit, Syntax, is_written, number_of, undone, written

_FLIPPED = {ast.Gt: "<", ast.Lt: ">", ast.GtE: "<=", ast.LtE: ">="}
_AS_WRITTEN = {ast.Gt: ">", ast.Lt: "<", ast.GtE: ">=", ast.LtE: "<="}
_OPPOSITE = {ast.Gt: "<=", ast.Lt: ">=", ast.GtE: "<", ast.LtE: ">"}
_OTHER_SIGN = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*"}
AXES = (-1, 0, 1)
# Numbers elsewhere in an op that a number of its gradient is exchanged for, and conditions of its forward.
NUMBERS_TRIED, CONDITIONS_TRIED = 12, 6
_INTEGERS, _FLOATS = (0, 1, 2, -1, -2), (0.0, 0.5, 1.0, 2.0, 3.0, -1.0)


def other_numbers(syntax: Syntax, node: ast.expr, ratio: float | None) -> Iterator[Edit]:
    """Yield edits of a number; `ratio` is what the gradient is to be divided by, where it is one number."""
    value = number_of(node)
    if value is None:
        return
    if isinstance(syntax.parents.get(node), ast.Compare):
        # A threshold that no input reaches mends nothing: only one that stands elsewhere in the op is meant.
        # A whole one may count the steps of a loop.
        beside = [value - 1, value + 1] if isinstance(value, int) else []
        others: list[float] = [*beside, *(n for n in _numbers_outside(syntax) if type(n) is type(value))]
    elif isinstance(value, int):
        others = [*_INTEGERS, value + 1, value - 1]
    else:
        exact = [value / ratio, value * ratio] if ratio else []
        near = [value + 1, value - 1, value * 2, value / 2, -value, *([1 / value] if value else [])]
        others = [*exact, *_FLOATS, *near, *(n for n in _numbers_outside(syntax) if isinstance(n, float))]
    least = 1 if is_length(node, syntax.parents) else -math.inf
    for other in dict.fromkeys(others):
        if other != value and other >= least:
            yield syntax.put(node, written(other))


def _numbers_outside(syntax: Syntax) -> list[float]:
    """Return the numbers in the op around a function, the function itself left out."""
    return list(dict.fromkeys(n for e in syntax.outside if (n := number_of(e)) is not None))[:NUMBERS_TRIED]


def other_signs(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield the edit that turns the sign of a value."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield syntax.put(node, syntax.text(node.operand))
    elif number_of(node) is None:
        yield syntax.put(node, f"-{syntax.as_factor(node)}")


def other_operators(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield edits of an operation: another operator, its operands exchanged, one of them left out."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield syntax.put(node, syntax.text(node.operand))
    if not isinstance(node, ast.BinOp):
        return
    left, right = syntax.text(node.left), syntax.text(node.right)
    if type(node.op) in _OTHER_SIGN:
        raw = syntax.lines[node.lineno - 1].encode()
        between = raw[node.left.end_col_offset : node.right.col_offset]
        place = between.find({ast.Add: b"+", ast.Sub: b"-", ast.Mult: b"*", ast.Div: b"/"}[type(node.op)])
        start = (node.left.end_col_offset or 0) + place
        yield Edit(node.lineno, start, start + 1, _OTHER_SIGN[type(node.op)])
    if isinstance(node.op, (ast.Sub, ast.Div, ast.MatMult)):
        sign = {ast.Sub: "-", ast.Div: "/", ast.MatMult: "@"}[type(node.op)]
        yield syntax.put(node, f"{syntax.as_factor(node.right)} {sign} {syntax.as_factor(node.left)}")
    if isinstance(node.op, ast.Div) and number_of(node.right) is None:
        yield syntax.put(node, f"{left} / {syntax.as_factor(node.right)} ** 2")
    if isinstance(node.op, ast.MatMult):
        yield syntax.put(node, f"{_matrix(syntax, node.left)} @ {right}")
        yield syntax.put(node, f"{left} @ {_matrix(syntax, node.right)}")
    yield syntax.put(node, left)
    yield syntax.put(node, right)


def _matrix(syntax: Syntax, node: ast.expr) -> str:
    return f"{syntax.library}.transpose({syntax.text(node)})"


def times_matrices(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield a value multiplied by a matrix, on its right or transposed on either side."""
    text = f"({syntax.text(node)})" if isinstance(node, ast.BinOp) else syntax.as_factor(node)
    for name, form in itertools.product(syntax.inputs(), MATRICES):
        yield syntax.put(node, syntax.own(form.format(f=text, n=name)))


def other_comparisons(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield edits of a choice (one side of it only) and of a comparison (turned around)."""
    if isinstance(node, ast.IfExp):
        yield syntax.put(node, syntax.text(node.body))
        yield syntax.put(node, syntax.text(node.orelse))
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _FLIPPED and len(node.ops) == 1:
        left, right = syntax.text(node.left), syntax.text(node.comparators[0])
        yield syntax.put(node, f"{left} {_FLIPPED[type(node.ops[0])]} {right}")


def other_operands(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield products and quotients in which a tensor stands where a call does: its count for that of all."""
    right = node.right if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div)) else None
    if isinstance(right, ast.Call):
        for form, name in itertools.product(("{n}", "{n}[:, None]"), syntax.inputs()):
            yield syntax.put(right, form.format(n=name))


def complements(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield one minus a name in its place: the other gate of a cell, the other weight of a mixture."""
    if isinstance(node, ast.Name) and node.id in syntax.inputs():
        yield syntax.put(node, f"1.0 - {node.id}")


def where_the_forward_asks(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield a value where a condition of the forward holds, then where it does not, and zero elsewhere."""
    for left, right, name, sides in _conditions(syntax):
        for side in sides:
            mask = f"tf.cast({left} {side} {right}, {name}.dtype)"
            yield syntax.put(node, syntax.own(f"{syntax.as_factor(node)} * {mask}"))


def _conditions(syntax: Syntax) -> list[tuple[str, str, str, tuple[str, str]]]:
    """Return the sides of comparisons in the forward, a tensor in each, how they are compared and the opposite."""
    tensors = syntax.inputs()
    found: dict[tuple[str, str, str, tuple[str, str]], None] = {}
    for node in syntax.outside:
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _OPPOSITE:
            read = [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
            name = next((n for n in read if n in tensors), None)
            if name is not None:
                sides = _AS_WRITTEN[type(node.ops[0])], _OPPOSITE[type(node.ops[0])]
                found[ast.unparse(node.left), ast.unparse(node.comparators[0]), name, sides] = None
    return list(found)[:CONDITIONS_TRIED]


def wrapped(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield a value summed, averaged, transposed, reversed."""
    text = syntax.text(node)
    for form in WRAPS:
        yield syntax.put(node, syntax.own(form.format(e=text)))
    for form, axis in itertools.product(SUMS, AXES):
        yield syntax.put(node, syntax.own(form.format(e=text, a=axis)))


def shifted(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield what a function takes less and more a tensor: the logarithm of a sum that was left out of an exponent."""
    for sign, name in itertools.product("-+", syntax.inputs()):
        yield syntax.put(node, f"{syntax.text(node)} {sign} {name}")


def divided(syntax: Syntax, node: ast.expr, ratio: float | None) -> Iterator[Edit]:
    """Yield a value divided by what the gradient is off by, where that is a number that people write."""
    if ratio and is_written(ratio):
        yield syntax.put(node, f"{syntax.as_factor(node)} {undone(ratio)}")


def times_numbers(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield a value multiplied by the numbers that are forgotten most often."""
    if number_of(node) is None:
        yield from (syntax.put(node, f"{factor} * {syntax.as_factor(node)}") for factor in CONSTANT_FACTORS)


def multiplied(syntax: Syntax, node: ast.expr, forms: Sequence[str], names: Sequence[str]) -> Iterator[Edit]:
    """Yield a value multiplied by functions (`forms`) of names."""
    for form, name in itertools.product(forms, names):
        yield syntax.put(node, f"{syntax.as_factor(node)} * {syntax.filled(form, name)}")


def over_divisors(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield a value divided by what the forward divides by; a divisor of its own is exchanged for it."""
    quotient = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
    text = syntax.as_factor(node.left if isinstance(node, ast.BinOp) and quotient else node)
    for divisor, form in itertools.product(_divisors(syntax), OF_ROWS):
        yield syntax.put(node, f"{text} / {form.format(n=divisor)}")


def _divisors(syntax: Syntax) -> list[str]:
    """Return the calls and names that the forward divides by."""
    quotients = [n for n in syntax.outside if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Div)]
    found = (ast.unparse(n.right) for n in quotients if isinstance(n.right, (ast.Call, ast.Name)))
    return list(dict.fromkeys(found))[:CONDITIONS_TRIED]


def exchanged_for(syntax: Syntax, node: ast.expr, forms: Sequence[str]) -> Iterator[Edit]:
    """Yield functions (`forms`) of names in the place of a tensor: the derivative where the value stands."""
    inputs = syntax.inputs()
    if isinstance(node, ast.Name) and node.id in inputs:
        yield from (syntax.put(node, syntax.filled(form, name)) for form in forms for name in inputs)


def divided_by(syntax: Syntax, node: ast.expr, forms: Sequence[str]) -> Iterator[Edit]:
    """Yield a value divided by functions (`forms`) of tensors: their squares, how many elements they have."""
    for form, name in itertools.product(forms, syntax.inputs()):
        yield syntax.put(node, f"{syntax.as_factor(node)} / {syntax.filled(form, name)}")


def times_slope_of_silu(syntax: Syntax, node: ast.expr) -> Iterator[Edit]:
    """Yield a value multiplied by what makes the slope of `a * sigmoid(a)` of the sigmoid."""
    for n, m in _sigmoids(syntax):
        yield syntax.put(node, f"{syntax.as_factor(node)} * {SLOPE_OF_SILU.format(n=n, m=m)}")


def _sigmoids(syntax: Syntax) -> list[tuple[str, str]]:
    """Return the names of sigmoids in the forward, each with the name of what it is taken of."""
    calls = [(t, a.value) for a in syntax.given_outside for t in a.targets if isinstance(a.value, ast.Call)]
    return [
        (target.id, call.args[0].id)
        for target, call in calls
        if isinstance(target, ast.Name) and call.args and isinstance(call.args[0], ast.Name)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "sigmoid"
    ]
