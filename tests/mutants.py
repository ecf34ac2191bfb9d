"""How many small mistakes in the judges of gradients the unit tests notice (`make mutants`).

    python -m tests.mutants [--count N] [--seed N] [-j N] [--room ROOM]

Changes one operator, comparison or constant of a pure room at a time, in a copy of the project, and
runs that room's unit tests.  Prints the changes that no test notices, and fails below 85 %.  Changes
that mean nothing are listed with their reason in `tests/equivalent_changes.txt`.
"""

from __future__ import annotations

import argparse
import ast
import copy
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("numerics", "differences", "verdict", "sites", "diagnose")
TESTS = ("numerics", "differences", "verdict", "sites", "diagnose")
WANTED = 0.85
TIMEOUT_S = 60
OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


@dataclass(frozen=True)
class Change:
    """One change: the file, the statement before and after, and the whole text after."""

    path: Path
    line: int
    before: str
    after: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.before}  ->  {self.after}"

    @property
    def key(self) -> str:
        """Return what names the change when lines move."""
        return f"{self.path}: {self.before}  ->  {self.after}"


def changes(path: Path) -> Iterator[Change]:
    """Yield every single change of a file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    ignored = {id(part) for node in ast.walk(tree) for whole in _meaningless(node) for part in ast.walk(whole)}
    nodes = list(ast.walk(tree))
    for index, node in enumerate(nodes):
        if id(node) not in ignored and (mutated := _mutated(node)) is not None:
            again = copy.deepcopy(tree)
            place = list(ast.walk(again))[index]
            for name, value in mutated.items():
                setattr(place, name, value)
            yield Change(path, node.lineno, _short(node), _short(place), ast.unparse(again))  # type: ignore[attr-defined]


def _meaningless(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the parts of a node that are no computation: annotations, texts, the branch for type checkers."""
    for name in ("annotation", "returns"):
        if (part := getattr(node, name, None)) is not None:
            yield part
    if isinstance(node, ast.JoinedStr):
        yield node
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp) and isinstance(node.value.op, ast.BitOr):
        yield node.value


def _mutated(node: ast.AST) -> dict[str, object] | None:
    """Return the fields of a node after a change, None if it is not one that is changed."""
    if isinstance(node, (ast.BinOp, ast.BoolOp, ast.AugAssign)) and type(node.op) in OPERATORS:
        return {"op": OPERATORS[type(node.op)]()}
    if isinstance(node, ast.Compare) and type(node.ops[0]) in OPERATORS:
        return {"ops": [OPERATORS[type(node.ops[0])](), *node.ops[1:]]}
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.Invert)):
        # `not x` becomes `x` by way of `+`, which means nothing for arrays and truth values alike.
        return {"op": ast.UAdd() if isinstance(node.op, ast.Not) else ast.Not(), "operand": node.operand}
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return {"value": node.value * 2 if node.value else 1}
    return None


def _short(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())


def noticed(change: Change, folder: Path) -> bool:
    """Return whether a unit test fails after a change in the copy of the project at `folder`."""
    file = folder / change.path
    before = file.read_text(encoding="utf-8")
    file.write_text(change.text, encoding="utf-8")
    folders = [f"tests/unit/{room}" for room in TESTS]
    command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider", *folders]
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=TIMEOUT_S).returncode != 0
    except subprocess.TimeoutExpired:
        return True
    finally:
        file.write_text(before, encoding="utf-8")


def equivalent() -> set[str]:
    """Return the keys of the changes that mean nothing."""
    lines = (ROOT / "tests" / "equivalent_changes.txt").read_text(encoding="utf-8").splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-j", "--jobs", type=int, default=2)
    parser.add_argument("--room", action="append", choices=ROOMS, help="only this room; may be repeated")
    options = parser.parse_args()
    meaningless = equivalent()
    files = [path for room in options.room or ROOMS for path in sorted((ROOT / "gradcheck" / room).glob("*.py"))]
    every = [c for file in files for c in changes(file.relative_to(ROOT)) if c.key not in meaningless]
    chosen = random.Random(options.seed).sample(every, min(options.count, len(every)))
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(options.jobs):
            copies.put(_copied(Path(folder) / str(number)))

        def tried(change: Change) -> bool:
            place = copies.get()
            try:
                return noticed(change, place)
            finally:
                copies.put(place)

        with ThreadPoolExecutor(options.jobs) as pool:
            seen = list(pool.map(tried, chosen))
    for change, found in zip(chosen, seen, strict=True):
        if not found:
            print(f"not noticed: {change}")
    print(f"{sum(seen)} of {len(seen)} changes noticed ({sum(seen) / max(len(seen), 1):.0%}), of {len(every)} in all")
    return 0 if sum(seen) >= WANTED * len(seen) else 1


def _copied(folder: Path) -> Path:
    unwanted = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(ROOT / "gradcheck", folder / "gradcheck", ignore=unwanted)
    shutil.copytree(ROOT / "tests" / "unit", folder / "tests" / "unit", ignore=unwanted)
    for name in ("tests/__init__.py", "tests/conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


if __name__ == "__main__":
    sys.exit(main())
