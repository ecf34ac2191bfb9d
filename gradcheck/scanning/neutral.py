# SPDX-License-Identifier: Apache-2.0
"""Lines without operations that change nothing (to add zero, to multiply by one), and without two signs in a row."""

from __future__ import annotations

import ast
import re
import textwrap

# What leaves a value as it is, by the operator: on its right, or on both of its sides.
_ON_THE_RIGHT = {ast.Add: 0, ast.Sub: 0, ast.Mult: 1, ast.Div: 1, ast.Pow: 1}
_ON_THE_LEFT = {ast.Add: 0, ast.Mult: 1}
# A sum with a negative number, which is a difference; of its square it is not.
_SUM = re.compile(r"\+ \(-(\d[\d.e]*)\)(?!\s*\*\*)")
_DIFFERENCE = re.compile(r"- \(-(\d[\d.e]*)\)(?!\s*\*\*)")


def without_neutral(line: str, before: str) -> str:
    """Return a line without the operations that change nothing, unless the line `before` an edit had such ones too."""
    text = textwrap.dedent(line)
    while not _neutral(before) and (found := _neutral(text)):
        whole, kept = found[0]
        raw = text.encode()
        text = (raw[: whole.col_offset] + kept + raw[whole.end_col_offset :]).decode()
    return _DIFFERENCE.sub(r"+ \1", _SUM.sub(r"- \1", text))


def _neutral(line: str) -> list[tuple[ast.BinOp, bytes]]:
    """Return the operations of a line that change nothing, each with the text of what it leaves as it is."""
    raw = textwrap.dedent(line).strip().encode()
    try:
        tree = ast.parse(raw)
    except SyntaxError:
        return []
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.BinOp)]
    right = [(n, _before(raw, n)) for n in nodes if _is(n.right, _ON_THE_RIGHT.get(type(n.op)))]
    left = [(n, _after(raw, n)) for n in nodes if _is(n.left, _ON_THE_LEFT.get(type(n.op)))]
    return [*right, *left]


def _before(raw: bytes, node: ast.BinOp) -> bytes:
    """Return the left operand with its brackets."""
    return raw[node.col_offset : node.right.col_offset].rstrip(b" (").rstrip(b"+-*/ ")


def _after(raw: bytes, node: ast.BinOp) -> bytes:
    """Return the right operand with its brackets."""
    return raw[node.left.end_col_offset : node.end_col_offset].lstrip(b" )").lstrip(b"+* ")


def _is(node: ast.expr, number: int | None) -> bool:
    constant = isinstance(node, ast.Constant) and not isinstance(node.value, bool)
    return constant and number is not None and node.value == number  # type: ignore[attr-defined]
