"""No threshold without a name: numbers that verdicts rest on stand in one table, with their reason."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "gradcheck"
ROOMS = ("checks", "verdict", "measure", "sites", "diagnose")
TABLE = ROOT / "verdict" / "tolerances.py"
# What everybody reads without a name: signs, halves and pairs.
PLAIN = {-1, 0, 1, 2, -2}
FILES = sorted(file for room in ROOMS for file in (ROOT / room).glob("*.py") if file != TABLE)


def numbers(tree: ast.Module) -> list[ast.Constant]:
    """Return the numeric literals that are neither plain, nor an axis of a slice, nor digits of a format."""
    formats = {id(part) for node in ast.walk(tree) if isinstance(node, ast.FormattedValue) for part in ast.walk(node)}
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and type(node.value) in (int, float)
        and node.value not in PLAIN
        and id(node) not in formats
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_no_anonymous_threshold(file):
    found = [f"line {node.lineno}: {node.value}" for node in numbers(ast.parse(file.read_text()))]
    assert not found, "name it in gradcheck/verdict/tolerances.py, with its reason"


def test_every_number_of_the_table_has_a_reason():
    lines = TABLE.read_text().splitlines()
    assigned = [node for node in ast.parse(TABLE.read_text()).body if isinstance(node, ast.Assign)]
    ends = {node.end_lineno for node in assigned}
    for node in assigned:
        # Numbers below one comment share it.
        assert lines[node.lineno - 2].startswith("#") or node.lineno - 1 in ends, lines[node.lineno - 1]
