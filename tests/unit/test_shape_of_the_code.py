"""Files and functions stay small, and parameters say what they are."""

from __future__ import annotations

import ast
import statistics

import pytest

from tests.conftest import ROOT

FILES = sorted((ROOT / "gradcheck").rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in FILES}
FUNCTIONS = [
    node
    for tree in TREES.values()
    for node in ast.walk(tree)
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
]
# The rooms that decide; what TensorFlow hands over is of any type elsewhere.
ROOMS = ("checks", "measure", "sites", "diagnose", "verdict")


def lines(node):
    """Return the lines of a function, its docstring left out."""
    first = node.body[0]
    has_words = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    words = first.end_lineno - first.lineno + 1 if has_words else 0
    return node.end_lineno - node.lineno + 1 - words


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_is_longer_than_350_lines(path):
    assert len(path.read_text().splitlines()) <= 350


def test_functions_are_small():
    sizes = sorted(map(lines, FUNCTIONS))
    assert sizes[-1] <= 50
    assert statistics.median(sizes) <= 7
    assert sizes[int(0.9 * len(sizes))] <= 20


def test_few_parameters_of_the_rooms_that_decide_may_be_anything():
    loose = [
        f"{path.name}: {node.name}({argument.arg})"
        for path, tree in TREES.items()
        if path.parent.name in ROOMS
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.Lambda))
        for argument in (*node.args.args, *node.args.kwonlyargs)
        if argument.annotation is not None
        and any(isinstance(name, ast.Name) and name.id == "Any" for name in ast.walk(argument.annotation))
    ]
    assert len(loose) <= 40, loose


def test_every_file_names_its_licence():
    assert not [
        path.name for path in FILES if not path.read_text().startswith("# SPDX-License-Identifier: Apache-2.0\n")
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "tests" / "unit").rglob("*.py")), ids=lambda path: path.name)
def test_unit_tests_write_their_ops_in_numpy(path):
    imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, (ast.Import, ast.ImportFrom))]
    modules = {getattr(node, "module", None) or alias.name for node in imports for alias in node.names}
    assert not {name for name in modules if name.split(".")[0] in ("tensorflow", "keras")}
