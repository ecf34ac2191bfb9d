# SPDX-License-Identifier: Apache-2.0
"""Import the user's module, find the op in it, and build it where the spec says so."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import os
import re
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gradcheck.backend.tensorflow.building import misfit
from gradcheck.backend.tensorflow.install import unwrapped
from gradcheck.backend.tensorflow.keras_types import is_layer, is_model, is_own
from gradcheck.files import project_root

SHOWN = 8


class TargetError(Exception):
    """Report that the op could not be found or its inputs do not fit its parameters."""

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint


def import_module(module: str, folder: str) -> types.ModuleType:
    """Import a file (its folder importable for its own helpers) or a dotted name.

    A dotted name is looked up from the current folder, from the root of the project to which `folder`
    belongs, and among what is installed.
    """
    if not module.endswith(".py"):
        for place in (project_root(folder), os.getcwd()):
            if place is not None and place not in sys.path:
                sys.path.insert(0, place)
        return importlib.import_module(module)
    folder = os.path.dirname(module)
    package = _package_of(module) or _namespace_of(module)
    if package:
        return _from_package(module, *package)
    sys.path.append(folder)
    # A name of its own, so that a file called random.py hides no standard module.
    return _from_file(module, f"{_private(module)}_{os.path.basename(module)[:-3]}")


def _from_package(module: str, root: str, dotted: str) -> types.ModuleType:
    """Return the module of a file inside a package, under a private name if its own is taken by another."""
    sys.path.insert(0, root)
    top = dotted.partition(".")[0]
    if not _is_taken(top, root) and _is_taken(dotted, os.path.dirname(module)) is not True:
        found = importlib.import_module(dotted)
        if _is_file(found, module):
            return found
    # The package's name belongs to an installed one (keras, six.moves): the file that was named is loaded all the same.
    folder = os.path.join(root, top)
    private = _private(folder)
    if private not in sys.modules:
        _from_file(os.path.join(folder, "__init__.py"), private, [folder])
    found = importlib.import_module(f"{private}{dotted[len(top) :]}")
    if not _is_file(found, module):
        raise TargetError("import-error", f"{module}: its name is taken by another module; rename the folder")
    return found


class _Source(importlib.machinery.SourceFileLoader):
    """Load a module from its source: compiled files beside it may be of another one."""

    def get_code(self, fullname: str) -> types.CodeType:
        """Return the code of the file that was named."""
        path = self.get_filename(fullname)
        code: types.CodeType = self.source_to_code(self.get_data(path), path)
        return code


def _from_file(file: str, name: str, search: list[str] | None = None) -> types.ModuleType:
    """Return the module of a file under a name, or what the module puts in its own place."""
    loader = _Source(name, file)
    spec = importlib.util.spec_from_file_location(name, file, loader=loader, submodule_search_locations=search)
    if spec is None or spec.loader is None:
        raise TargetError("import-error", f"{file} cannot be imported")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded
    spec.loader.exec_module(loaded)
    return sys.modules.get(name, loaded)


def _private(path: str) -> str:
    return f"gradcheck_user_{hashlib.sha256(path.encode()).hexdigest()[:8]}"


def _is_taken(name: str, folder: str) -> bool:
    """Return whether a module of this name was imported from another folder."""
    known = sys.modules.get(name)
    # A package without an __init__.py has folders only.
    places = [getattr(known, "__file__", None) or "", *getattr(known, "__path__", ())]
    return known is not None and not any(os.path.realpath(p).startswith(os.path.realpath(folder)) for p in places if p)


def _is_file(module: Any, file: str) -> bool:
    """Return whether a module was loaded from a file; one that put something else in its place counts as loaded."""
    found = getattr(module, "__file__", None)
    return found is None or os.path.realpath(found) == os.path.realpath(file)


def _package_of(path: str) -> tuple[str, str] | None:
    """Return (folder to import from, dotted name) of a file inside a package, or None."""
    folder, parts = os.path.dirname(path), [os.path.basename(path)[:-3]]
    if not os.path.exists(os.path.join(folder, "__init__.py")):
        return None
    while os.path.exists(os.path.join(folder, "__init__.py")):
        folder, part = os.path.split(folder)
        parts.insert(0, part)
    return folder, ".".join(parts)


def _namespace_of(path: str) -> tuple[str, str] | None:
    """Return the same for a file that imports from files beside it, in folders without an __init__.py.

    They are imported from the nearest folder above on the path of Python, else from the current one or the project's,
    else from as far above as the imports reach.
    """
    with open(path, "rb") as file:
        levels = [len(match[1]) for match in _RELATIVE.finditer(file.read())]
    if not levels:
        return None
    folder = os.path.dirname(path)
    least = os.path.abspath(os.path.join(folder, *[os.pardir] * max(levels)))
    known = [os.path.abspath(place) for place in (*sys.path, os.getcwd(), project_root(folder) or least) if place]
    above = [place for place in known if f"{least}{os.sep}".startswith(f"{place}{os.sep}")]
    root = max(above, key=len, default=least)
    parts = os.path.relpath(path, root)[:-3].split(os.sep)
    if parts[0] == "src" and len(parts) > 1 + max(levels):
        root, parts = os.path.join(root, parts[0]), parts[1:]
    return (root, ".".join(parts)) if all(part.isidentifier() for part in parts) else None


_RELATIVE = re.compile(rb"^[ \t]*from[ \t]+(\.+)", re.MULTILINE)


def _defined(owner: Any) -> str | None:
    """Say what a module or class defines itself, imports left out."""
    home = getattr(owner, "__name__", None)
    names = [
        name
        for name, value in vars(owner).items()
        if not name.startswith("_") and callable(value) and getattr(value, "__module__", home) == home
    ]
    if not names:
        return None
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"`op` names a function, a class or a layer of the module; it has {', '.join(names[:SHOWN])}{more}"


def attribute(module: types.ModuleType, name: str) -> Any:
    """Return a dotted attribute; raise TargetError with the nearest name if it is not there."""
    value: Any = module
    for part in name.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            names = [n for n in dir(value) if not n.startswith("_")]
            close = difflib.get_close_matches(part, names, n=1)
            where = getattr(module, "__file__", None) or module.__name__
            hint = f"did you mean `{close[0]}`?" if close else _defined(value)
            raise TargetError("import-error", f"there is no `{name}` in {where}", hint) from None
    return value


def method_of_op(module: types.ModuleType, op: Any, name: str) -> Any | None:
    """Return the method `Class.method` bound to the op's own instance, None if the op is no instance of the class."""
    owner, _, method = name.rpartition(".")
    subject = getattr(op, "__self__", op)
    try:
        cls = attribute(module, owner) if owner else None
    except TargetError:
        return None
    if not inspect.isclass(cls) or not isinstance(subject, cls) or _is_static(cls, method):
        return None
    return getattr(subject, method, None)


# A method under tf.function holds its object by a weak reference only.
_INSTANCES: list[Any] = []


def resolve(module: types.ModuleType, name: str, build: Mapping[str, Any] | None) -> Any:
    """Return the op: an attribute of the module, called with `build` where that is given.

    A Keras layer class without `build` is instantiated without arguments; a method of a class
    is taken from an instance.
    """
    value = attribute(module, name)
    owner, _, method = name.rpartition(".")
    if owner and inspect.isclass(attribute(module, owner)) and not _is_static(attribute(module, owner), method):
        instance = _built(owner, attribute(module, owner), build)
        _INSTANCES.append(instance)
        return getattr(instance, method)
    if build is not None or inspect.isclass(value):
        value = _built(name, value, build)
    if not callable(value):
        raise TargetError("op-error", f"`{name}` cannot be called: it is of type {type(value).__name__}")
    return value


def _built(name: str, made_by: Any, build: Mapping[str, Any] | None) -> Any:
    found = misfit(name, made_by, build)
    if found is not None:
        raise TargetError("op-error", *found)
    return made_by(**(build or {}))


def _is_static(owner: type, method: str) -> bool:
    return isinstance(inspect.getattr_static(owner, method, None), (staticmethod, classmethod))


@dataclass(frozen=True, slots=True)
class Bound:
    """Hold how inputs and arguments become a call.

    Each argument is ("input", name), ("spread", name) for a list that fills `*args`,
    ("gathered", names) for inputs that are passed in one list, or ("value", value).
    """

    positional: tuple[tuple[str, Any], ...]
    keywords: Mapping[str, tuple[str, Any]]


def signature_of(op: Any) -> inspect.Signature | None:
    """Return the signature of what the user wrote, below decorators, or None."""
    function = op.call if is_layer(op) else op
    if is_model(op) and is_own(op):
        return None
    plain = unwrapped(function)
    for candidate in (plain, getattr(function, "python_function", None), function):
        if candidate is None:
            continue
        try:
            return inspect.signature(candidate)
        except (TypeError, ValueError):
            continue
    return None


def bind(op: Any, inputs: list[str], arguments: Mapping[str, Any]) -> Bound:
    """Order inputs and arguments by the op's parameters.

    Everything is passed by position, because TensorFlow drops a custom gradient that is
    called by keyword; parameters left out in between take their defaults.  Raises TargetError
    if names do not match.
    """
    signature = signature_of(op)
    if _takes_a_list(op) and len(inputs) > 1:
        return Bound((("gathered", tuple(inputs)),), {name: ("value", value) for name, value in arguments.items()})
    if signature is None or _only_variadic(signature):
        rest = _rest_of(signature) if signature else None
        positions = tuple(("spread" if name == rest else "input", name) for name in inputs)
        return Bound(positions, {name: ("value", value) for name, value in arguments.items()})
    parameters = list(signature.parameters.values())
    if _is_keras_own(op) and not set(inputs) & {p.name for p in parameters}:
        # Keras calls every first input `inputs` or `sequences`; whoever writes a spec need not know.
        return Bound(
            tuple(("input", name) for name in inputs), {name: ("value", value) for name, value in arguments.items()}
        )
    _check_names(op, parameters, inputs, arguments)
    kinds = inspect.Parameter
    given = {**{name: ("input", name) for name in inputs}, **{name: ("value", v) for name, v in arguments.items()}}
    if is_layer(op):
        return _bind_layer(parameters, given)
    fixed = [p for p in parameters if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    last = max((i for i, p in enumerate(fixed) if p.name in given), default=-1)
    positional: list[tuple[str, Any]] = []
    for p in fixed[: last + 1]:
        if p.name not in given and p.default is kinds.empty:
            raise TargetError("op-error", f"the op's parameter `{p.name}` is neither in `inputs` nor in `arguments`")
        positional.append(given.pop(p.name) if p.name in given else ("value", p.default))
    for p in fixed[last + 1 :]:
        if p.default is kinds.empty:
            raise TargetError("op-error", f"the op's parameter `{p.name}` is neither in `inputs` nor in `arguments`")
    named = {p.name for p in parameters}
    positional += [given.pop(name) for name in list(given) if name not in named and given[name][0] == "input"]
    rest = _rest_of(signature)
    if rest in given:
        positional.append(("spread", given.pop(rest)[1]))
    return Bound(tuple(positional), given)


def _takes_a_list(op: Any) -> bool:
    """Return whether a Keras model takes its inputs in one list."""
    return is_model(op) and isinstance(getattr(op, "_inputs_struct", None), (list, tuple))


def _is_keras_own(op: Any) -> bool:
    return is_layer(op) and is_own(op)


def _rest_of(signature: inspect.Signature) -> str | None:
    """Return the name of the parameter `*args`, None if there is none."""
    return next((p.name for p in signature.parameters.values() if p.kind is p.VAR_POSITIONAL), None)


def _bind_layer(parameters: list[inspect.Parameter], given: dict[str, tuple[str, Any]]) -> Bound:
    """Pass the leading inputs by position and the rest by keyword: Keras takes only tensors by position."""
    positional: list[tuple[str, Any]] = []
    for p in parameters:
        if p.name not in given or given[p.name][0] != "input":
            break
        positional.append(given.pop(p.name))
    return Bound(tuple(positional), given)


def _only_variadic(signature: inspect.Signature) -> bool:
    kinds = [p.kind for p in signature.parameters.values()]
    return all(k in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD) for k in kinds)


def _check_names(op: Any, parameters: list[inspect.Parameter], inputs: list[str], arguments: Mapping[str, Any]) -> None:
    names = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    open_ended = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    accepts_keywords = any(p.kind is p.VAR_KEYWORD for p in parameters)
    unknown = [] if open_ended else [n for n in inputs if n not in names]
    unknown += [] if accepts_keywords else [n for n in arguments if n not in names]
    if not unknown:
        return
    close = difflib.get_close_matches(unknown[0], names, n=1)
    hint = f"did you mean `{close[0]}`?" if close else None
    label = getattr(op, "__name__", type(op).__name__)
    listed = ", ".join(names) or "none"
    raise TargetError("op-error", f"`{unknown[0]}` is no parameter of `{label}` (it has: {listed})", hint)
