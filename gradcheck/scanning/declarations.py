# SPDX-License-Identifier: Apache-2.0
"""Find custom gradients in one Python file by its syntax tree."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gradcheck.scanning.makers import (
    MOST_FILES,
    assigned_calls,
    at_the_top,
    decorators,
    imported_from,
    instances,
    last,
    makers,
    own_names,
)

TOP_LEVEL, METHOD, CLOSURE = "top level", "method", "closure"
# What TensorFlow calls the ways to give an op a gradient of one's own, and how each is listed.
HOW = {
    "custom_gradient": "custom_gradient",
    "RegisterGradient": "RegisterGradient",
    "recompute_grad": "recompute_grad",
    "grad_pass_through": "grad_pass_through",
    "py_function": "py_function",
    "numpy_function": "py_function",
}
# Those that take a function and return one.
_DECORATING = ("custom_gradient", "recompute_grad", "grad_pass_through")
# What a function of the user's is that returns a custom gradient of what it gets.
MAKER = "maker"
# Most files hold none of these words and need not be parsed.
_WORDS = re.compile(b"|".join(word.encode() for word in HOW))


@dataclass(frozen=True, slots=True)
class Declaration:
    """Name one custom gradient of a file.

    `name` is the function's qualified name, `kind` where it stands, `how` what declares it, `owner` the
    name at the top of the module that one must call to reach it, `first` the line of its first decorator.
    """

    line: int
    name: str
    kind: str
    how: str
    owner: str
    first: int = 0


@dataclass(frozen=True, slots=True)
class Module:
    """Hold what one file declares, what each of its top-level names uses, and what it imports by name.

    `uses` maps a top-level name to the names in its body; `imported` maps a name to (module, name there);
    `ops` are the functions and layers at the top that can be checked without a spec, with their lines, and methods
    of classes; `registered` are gradients of ops by name; `declaring` maps the names that make a function a custom
    gradient to what they stand for, a function of the file's own that does so to MAKER.
    """

    declarations: tuple[Declaration, ...] = ()
    uses: dict[str, frozenset[str]] = field(default_factory=dict)
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)
    ops: dict[str, int] = field(default_factory=dict)
    registered: dict[str, int] = field(default_factory=dict)
    declaring: dict[str, str] = field(default_factory=dict)
    calls_at_import: bool = False


def read(path: Path) -> Module | None:
    """Return what a file declares; None if none of the words that declare a gradient is in it.

    Raises OSError, SyntaxError or ValueError for a file that cannot be read as Python.
    """
    text = path.read_bytes()
    return parsed(text, str(path)) if _WORDS.search(text) else None


def line_of(file: str, name: str) -> int | None:
    """Return the first line, decorators included, of a function with this qualified name, None if it is not there."""
    try:
        module = read(Path(file))
    except (OSError, SyntaxError, ValueError):
        return None
    return next((d.first for d in module.declarations if d.name == name), None) if module else None


def parsed(text: bytes, name: str, depth: int = 0) -> Module:
    """Return what Python source declares; `name` is its path, `depth` how many files have imported it.

    Raises SyntaxError or ValueError.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(text, name)
        except RecursionError:
            raise ValueError("nested too deeply") from None
    imported = _imported_declaring(tree, Path(name), depth)
    aliases = {n: how for n, how in imported.items() if how != MAKER} | _aliases(tree)
    own = makers(tree, {n for n in (*HOW, *aliases) if aliases.get(n, n) in _DECORATING})
    made_by = [*own, *(n for n, how in imported.items() if how == MAKER)]
    decorating = [maker for maker in made_by if maker in decorators(tree)]
    reader = _Reader(aliases | dict.fromkeys(decorating, "custom_gradient"))
    reader.visit(tree)
    declarations = tuple(sorted(reader.found, key=lambda d: (d.line, d.name)))
    tops = _tops(tree)
    uses = {name: _names(nodes) for name, nodes in tops.items()}
    registered = {d.name: d.line for d in declarations if d.how == "RegisterGradient" and d.kind == TOP_LEVEL}
    return Module(
        declarations,
        uses,
        _imports(tree),
        _ops(tree, declarations, made_by),
        registered,
        aliases | dict.fromkeys(own, MAKER),
        any(_acts(node) for node in tree.body),
    )


def _ops(tree: ast.Module, declarations: Sequence[Declaration], made_by: Collection[str]) -> dict[str, int]:
    """Return what can be checked without a spec: functions, layers, methods, and what makers have made."""
    tops, layers = _tops(tree), _layers(tree)
    found = {name: nodes[-1].lineno for name, nodes in tops.items() if name in layers}
    classes = {name for name, nodes in tops.items() if isinstance(nodes[-1], ast.ClassDef)}
    made = instances(tree, made_by)
    # What a maker has made in this file is checked, and not the maker with an argument that is guessed.
    busy = decorators(tree) | {function for _, function in assigned_calls(tree)}
    for declaration in declarations:
        owner, *inner = declaration.name.split(".")
        if declaration.how == "RegisterGradient" or declaration.owner not in tops or declaration.owner in layers:
            continue
        method = inner[0] if owner in classes and inner else "__call__"
        if declaration.owner in classes and method not in _OF_THE_INSTANCE:
            found[f"{owner}.{method}"] = declaration.line
        elif declaration.owner not in made_by or declaration.owner not in busy:
            found[declaration.owner] = tops[declaration.owner][-1].lineno
    return dict(sorted((found | made).items(), key=lambda item: item[1]))


# Methods that run where an instance of the class is made or called.
_OF_THE_INSTANCE = ("__call__", "__init__", "call", "build")


def _imported_declaring(tree: ast.Module, path: Path, depth: int) -> dict[str, str]:
    """Return names of declaring functions that a file imports from others of the user's, with what they do."""
    found: dict[str, str] = {}
    if depth >= MOST_FILES:
        return found
    for file, names in imported_from(tree, path):
        try:
            there = parsed(text, str(file), depth + 1) if _WORDS.search(text := file.read_bytes()) else None
        except (OSError, SyntaxError, ValueError):
            continue
        if there is not None:
            found |= {here: there.declaring[name] for here, name in own_names(names, there.declaring)}
    return found


class _Reader(ast.NodeVisitor):
    """Walk a module and keep the declarations with the scopes that they stand in."""

    def __init__(self, aliases: dict[str, str]) -> None:
        self.aliases = aliases
        self.scopes: list[tuple[str, bool]] = []
        self.assigned = ""
        self.found: list[Declaration] = []

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for decorator in node.decorator_list:
            how = self._how(decorator)
            if how in HOW:
                self._add(node.lineno, node.name, how, min(d.lineno for d in node.decorator_list))
            else:
                self.visit(decorator)
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if default is not None:
                self.visit(default)
        self._inside(node, is_class=False)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._inside(node, is_class=True)

    def visit_Assign(self, node: ast.Assign) -> None:
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        if not self.scopes and names:
            self.assigned = names[0]
        self.generic_visit(node)
        self.assigned = "" if not self.scopes else self.assigned

    def visit_Call(self, node: ast.Call) -> None:
        how = self._how(node.func)
        if _declares(node, how):
            self._add(node.lineno, _argument(node), how)
        self.generic_visit(node)

    def _how(self, node: ast.expr) -> str:
        name = last(node.func if isinstance(node, ast.Call) else node)
        return self.aliases.get(name, name)

    def _inside(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, is_class: bool) -> None:
        self.scopes.append((node.name, is_class))
        for child in node.body:
            self.visit(child)
        self.scopes.pop()

    def _add(self, line: int, name: str, how: str, first: int = 0) -> None:
        inside = [scope for scope, is_class in self.scopes if not is_class]
        kind = CLOSURE if inside else (METHOD if self.scopes else TOP_LEVEL)
        parts = [part for scope, is_class in self.scopes for part in ((scope,) if is_class else (scope, "<locals>"))]
        owner = self.scopes[0][0] if self.scopes else (self.assigned or name)
        self.found.append(Declaration(line, ".".join([*parts, name]), kind, HOW[how], owner, first or line))


def _declares(node: ast.Call, how: str) -> bool:
    """Return whether a call declares a gradient: `RegisterGradient("Op")(f)`, `custom_gradient(f)`."""
    registers = how == "RegisterGradient"
    if isinstance(node.func, ast.Call) or registers:
        return registers and isinstance(node.func, ast.Call)
    return how in HOW and (bool(node.args) or how != "custom_gradient")


def _argument(node: ast.Call) -> str:
    """Return the name of the function that is handed to a declaring call."""
    if not node.args:
        return "<function>"
    first = node.args[0]
    return "<lambda>" if isinstance(first, ast.Lambda) else (last(first) or "<function>")


def _aliases(tree: ast.Module) -> dict[str, str]:
    """Return the other names under which a file knows the declaring functions."""
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            aliases |= {item.asname: item.name for item in node.names if item.asname and item.name in HOW}
        elif isinstance(node, ast.Assign) and isinstance(node.value, (ast.Attribute, ast.Name)):
            if last(node.value) in HOW:
                aliases |= {target.id: last(node.value) for target in node.targets if isinstance(target, ast.Name)}
    return aliases


def _tops(tree: ast.Module) -> dict[str, list[ast.stmt]]:
    """Return the statements that define each name at the top of a module."""
    tops: dict[str, list[ast.stmt]] = {}
    for node in at_the_top(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            tops.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    tops.setdefault(target.id, []).append(node)
    return tops


def _names(nodes: list[ast.stmt]) -> frozenset[str]:
    found: set[str] = set()
    for top in nodes:
        for node in ast.walk(top):
            if isinstance(node, ast.Name):
                found.add(node.id)
            elif isinstance(node, ast.Attribute):
                found.add(node.attr)
    return frozenset(found)


def _imports(tree: ast.Module) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found |= {item.asname or item.name: (node.module or "", item.name) for item in node.names}
    return found


def _layers(tree: ast.Module) -> set[str]:
    """Return the classes of a module that are Keras layers or models by their bases."""
    known = {"Layer", "Model"}
    found: set[str] = set()
    for node in at_the_top(tree):
        if isinstance(node, ast.ClassDef) and any(last(base) in known for base in node.bases):
            known.add(node.name)
            found.add(node.name)
    return found


def _acts(node: ast.stmt) -> bool:
    """Return whether a statement at the top of a module does something that a second import would do again."""
    if isinstance(node, ast.Expr):
        return not isinstance(node.value, ast.Constant) and last(node.value) != "RegisterGradient"
    return isinstance(node, (ast.For, ast.While, ast.With))
