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
    """Return a line without operations and brackets that change nothing, unless the line `before` had such ones too."""
    text = textwrap.dedent(line)
    while not _neutral(before) and (found := _neutral(text)):
        whole, kept = found[0]
        raw = text.encode()
        text = (raw[: whole.col_offset] + kept + raw[whole.end_col_offset :]).decode()
    text = _DIFFERENCE.sub(r"+ \1", _SUM.sub(r"- \1", text))
    while not _doubled(before) and (pairs := _doubled(text)):
        start, stop, sign = pairs[0]
        raw = text.encode()
        text = (raw[:start] + sign + b" " + raw[stop:]).decode()
    while not _bracketed(before) and (brackets := _bracketed(text)):
        start, stop = brackets[0]
        text = text[:start] + text[start + 1 : stop] + text[stop + 1 :]
    return text


def _bracketed(line: str) -> list[tuple[int, int]]:
    """Return where brackets stand around a name, a call or other brackets alone, and are no call themselves."""
    found, opened = [], []
    for i, letter in enumerate(line):
        if letter == "(":
            opened.append(i)
        elif letter == ")" and opened:
            start = opened.pop()
            called = line[:start].rstrip()[-1:]
            if not (called.isalnum() or called in ("_", ")", "]")) and _is_whole(line[start + 1 : i].strip()):
                found.append((start, i))
    return found


def _is_whole(text: str) -> bool:
    """Return whether a text stands for one value without brackets around it."""
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError:
        return False
    return isinstance(tree, (ast.Name, ast.Call, ast.Subscript, ast.Attribute)) or _is_enclosed(text)


def _is_enclosed(text: str) -> bool:
    """Return whether the bracket with which a text begins is closed at its end."""
    depth = 0
    for i, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth == 0:
            return letter == ")" and i == len(text) - 1
    return False


def _doubled(line: str) -> list[tuple[int, int, bytes]]:
    """Return where a sum or a difference is followed by a sign: from there, to behind the sign, the one for both."""
    raw = textwrap.dedent(line).encode()
    found = []
    for node in _operations(raw):
        if isinstance(node.op, (ast.Add, ast.Sub)) and isinstance(_first(node.right), ast.UnaryOp):
            start, sign = raw.rfind(b"+" if isinstance(node.op, ast.Add) else b"-", 0, node.right.col_offset), b"-"
            if raw[start + 1 : node.right.col_offset].strip() == b"":
                found.append((start, node.right.col_offset + 1, sign if isinstance(node.op, ast.Add) else b"+"))
    return found


def _first(node: ast.expr) -> ast.expr | None:
    """Return the first factor of a product where it has a minus sign and no brackets around it."""
    column = node.col_offset
    while isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div)):
        node = node.left
    minus = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and node.col_offset == column
    return node if minus else None


def _operations(raw: bytes) -> list[ast.BinOp]:
    """Return the operations of a line of code, none where it is part of a statement only."""
    try:
        tree = ast.parse(raw.strip())
    except SyntaxError:
        return []
    return [node for node in ast.walk(tree) if isinstance(node, ast.BinOp)]


def _neutral(line: str) -> list[tuple[ast.BinOp, bytes]]:
    """Return the operations of a line that change nothing, each with the text of what it leaves as it is."""
    raw = textwrap.dedent(line).strip().encode()
    nodes = _operations(raw)
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
