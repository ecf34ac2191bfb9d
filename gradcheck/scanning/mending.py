# SPDX-License-Identifier: Apache-2.0
"""Lines of code in which a gradient is divided by a factor, in the words of the line as it is."""

from __future__ import annotations

import ast
import textwrap

from gradcheck.scanning.syntax import is_written, undone, written

_NICE = 1e-9
# Characters of a number that people write.
_SHORT = 6


def divided(line: str, factor: float, position: int | None, count: int) -> str | None:
    """Return the line of a grad_fn with the gradient that it returns divided by `factor`; None if it cannot be read,
    or takes a number that nobody writes.

    The line returns the gradient, or a lambda that does; of `count` gradients the one at `position` is meant.
    """
    text = textwrap.dedent(line).strip()
    gradient = _gradient(text, position, count)
    if gradient is None:
        return None
    segment = ast.get_source_segment(_wrapped(text), gradient)
    start = gradient.col_offset - len(_INDENT)
    if segment is None or gradient.lineno != gradient.end_lineno or text[start : start + len(segment)] != segment:
        return None
    divided_there = _without_factor(segment, factor)
    return None if divided_there is None else text[:start] + divided_there + text[start + len(segment) :]


_INDENT = "    "


def _wrapped(text: str) -> str:
    return f"def grad():\n{_INDENT}{text}\n"


def _gradient(text: str, position: int | None, count: int) -> ast.expr | None:
    """Return the expression of the gradient that is meant."""
    try:
        tree = ast.parse(_wrapped(text))
    except SyntaxError:
        return None
    lambdas = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda)]
    returned = [node.value for node in ast.walk(tree) if isinstance(node, ast.Return) and node.value is not None]
    if len(lambdas) > 1 or not (lambdas or returned):
        return None
    value = lambdas[0].body if lambdas else returned[0]
    if isinstance(value, (ast.Tuple, ast.List)):
        return value.elts[position] if position is not None and len(value.elts) == count else None
    return value if count == 1 else None


def _without_factor(segment: str, factor: float) -> str | None:
    """Return an expression divided by a factor: with another number in it if there is one, else as a quotient.

    None if it takes a number that nobody writes: it stands for something that has a name.
    """
    node = ast.parse(segment, mode="eval").body
    if abs(factor + 1) < _NICE:
        return _negated(segment, node)
    for constant, known, below in _factors(node):
        number = known * factor if below else known / factor
        written = _written(number, isinstance(known, int))
        # Two thirds have no end: a quotient says what is meant.
        if abs(float(written) - number) <= _NICE * abs(number) and len(written) <= _SHORT:
            return segment[: constant.col_offset] + written + segment[constant.end_col_offset :]
    inner = segment if _is_product(node) else f"({segment})"
    return f"{inner} {undone(factor)}" if is_written(factor) else None


def _negated(segment: str, node: ast.expr) -> str:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return ast.get_source_segment(segment, node.operand) or segment
    if _is_product(node) and segment.startswith("-"):
        return segment[1:].lstrip()
    return f"-{segment}" if _is_product(node) or isinstance(node, (ast.Name, ast.Call)) else f"-({segment})"


def _is_product(node: ast.expr) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div))


def _factors(node: ast.expr, below: bool = False) -> list[tuple[ast.Constant, int | float, bool]]:
    """Return the numbers that an expression is multiplied with, their values, and whether each divides it."""
    if isinstance(node, ast.Constant):
        value = node.value
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and value
        return [(node, value, below)] if is_number and isinstance(value, (int, float)) else []
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return _factors(node.left, below) + _factors(node.right, below)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return _factors(node.left, below) + _factors(node.right, not below)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return _factors(node.operand, below)
    return []


def _written(number: float, whole: bool) -> str:
    return written(int(number) if whole and float(number).is_integer() else float(number))
