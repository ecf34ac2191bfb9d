# SPDX-License-Identifier: Apache-2.0
"""Turn a spec file into records, reporting every mistake with its place."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gradcheck.errors import Problem, SpecError
from gradcheck.spec.contradictions import case_problems, input_problems, is_file, upstream_problems
from gradcheck.spec.model import Case, Input, Spec
from gradcheck.spec.nodes import Document, KeyPath, read_document
from gradcheck.spec.schema import PATTERNS, SCHEMA, is_attribute
from gradcheck.spec.slips import PARENTHESES, conflicting, instead, nearest_file
from gradcheck.spec.synonyms import SYNONYMS
from gradcheck.ways import EXACT, EXACT_AUTO, expanded

# Cases of a file; more numbers in a row than any key but a literal takes, and more words than a message lists.
MAX_CASES, MANY = 10_000, 40


def parse(path: Path, name: str | None = None) -> Spec:
    """Read the spec at `path`; `name` is how it is called in messages and ids.

    Raises SpecError with all problems of the file.
    """
    document = read_document(path, name or str(path))
    cases = document.data.get("cases") if isinstance(document.data, dict) else None
    if isinstance(cases, dict) and len(cases) > MAX_CASES:
        message = f"{len(cases)} cases; at most {MAX_CASES} are read from one file"
        raise SpecError((document.problem(("cases",), message, "split it into several files", at_key=True),))
    found = list(_schema_problems(document))
    problems = [*document.problems, *(problem for problem, _ in found)]
    problems += _meaning_problems(document, path, [where for _, where in found])
    if problems:
        raise SpecError(tuple(sorted(problems, key=lambda p: (p.line, p.column))))
    return _build(document, path)


def parse_data(data: dict[str, Any], file: str, folder: Path) -> Spec:
    """Turn a spec that is already data into records; `file` is how it is called in messages.

    Raises SpecError.
    """
    document = Document(file, [], data)
    found = list(_schema_problems(document))
    path = folder / "spec.yaml"
    problems = [*(problem for problem, _ in found), *_meaning_problems(document, path, [where for _, where in found])]
    if problems:
        raise SpecError(tuple(problems))
    return _build(document, path)


def _schema_problems(document: Document) -> Iterator[tuple[Problem, KeyPath]]:
    import jsonschema

    validator = jsonschema.Draft7Validator(SCHEMA)
    found = [pair for error in validator.iter_errors(_thinned(document.data)) for pair in _describe(document, error)]
    unknown = {where[:-1] for _, (where, kind) in found if kind == "unknown"}
    seen: set[KeyPath] = set()
    for problem, (where, kind) in found:
        # A misspelt key is not also a missing one; and one mistake at a place is enough.
        if where in seen or (kind == "missing" and where in unknown):
            continue
        seen.add(where)
        yield problem, where


def _thinned(value: Any) -> Any:
    """Return the data with long rows of numbers cut, which need not be looked at one by one."""
    if isinstance(value, dict):
        return {key: _thinned(item) for key, item in value.items()}
    if isinstance(value, list):
        if len(value) > MANY and {type(item) for item in value} <= {int, float}:
            return value[:MANY]
        return [_thinned(item) for item in value]
    return value


def _describe(document: Document, error: Any) -> Iterator[tuple[Problem, tuple[KeyPath, str]]]:
    path: KeyPath = tuple(error.absolute_path)
    kind, limit, value = error.validator, error.validator_value, error.instance
    if kind in ("if", "$ref") or (kind in ("allOf", "dependencies") and error.context):
        for inner in error.context:
            yield from _describe(document, inner)
        return
    if kind == "additionalProperties" and isinstance(value, dict):
        allowed = list(error.schema.get("properties", {}))
        for key in [k for k in value if k not in allowed]:
            message, hint = f"unknown key '{key}'", PARENTHESES if key.endswith(")") else _nearest(key, allowed)
            yield document.problem((*path, key), message, hint, at_key=True), ((*path, key), "unknown")
        return
    if (error.parent is not None and error.parent.validator == "propertyNames") or "propertyNames" in error.schema_path:
        key_path = (*path, str(value))
        message = f"'{value}' is not a valid name"
        hint = PARENTHESES if str(value).endswith(")") else "no spaces, colons or slashes"
        yield document.problem(key_path, message, hint, at_key=True), (key_path, "name")
        return
    message, hint = _explain(kind, limit, value, error)
    hint = (instead(path, limit, value) if kind in ("type", "enum") else "") or hint
    yield document.problem(path, message, hint), (path, "missing" if kind in ("required", "anyOf") else kind)


def _explain(kind: str, limit: Any, value: Any, error: Any) -> tuple[str, str]:
    shown = _shown(value)
    if kind == "required":
        missing = [key for key in limit if key not in value]
        return f"`{missing[0]}` is missing" if missing else "a key is missing", ""
    if kind == "enum":
        words = [str(word).lower() if isinstance(word, bool) else str(word) for word in limit]
        if isinstance(value, str) and value in words:
            return f"{shown} is a string here", f"write {value} without quotes"
        if len(words) > MANY:
            return f"{shown} is not known here", _nearest(str(value), words)
        return f"{shown} is not one of {', '.join(words)}", _nearest(str(value), words)
    if kind == "type":
        names = {"object": "a mapping", "array": "a list", "string": "a string", "integer": "a whole number"}
        names |= {"number": "a number", "boolean": "true or false"}
        wanted = " or ".join(names[t] for t in ([limit] if isinstance(limit, str) else limit))
        return f"must be {wanted}, is {shown}", ""
    if kind == "not":
        key = error.schema_path[-2]
        other = next(k["required"][0] for k in limit["anyOf"] if k["required"][0] in value)
        return f"`{key}` and `{other}` contradict each other; give one", ""
    if kind == "anyOf":
        return "`shape` is missing", "write `shape: []` for a scalar"
    if kind == "pattern":
        return f"{shown} is not allowed here", PATTERNS.get(limit, f"it must match {limit}")
    if kind == "uniqueItems":
        return "an entry appears twice", ""
    bounds = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "above", "minLength": "at least"}
    if kind in bounds:
        return (f"must be {bounds[kind]} {limit}, is {shown}" if kind != "minLength" else "must not be empty"), ""
    if kind in ("minItems", "maxItems", "minProperties"):
        empty = not value
        most = "at most " if kind == "maxItems" else ""
        return ("must not be empty" if empty else f"needs {most}{limit} entries, has {len(value)}"), ""
    return str(error.message), ""


def _shown(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _nearest(word: str, allowed: list[str]) -> str:
    meant = SYNONYMS.get(word)
    close = [meant] if meant in allowed else difflib.get_close_matches(word, allowed, n=1, cutoff=0.6)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"allowed: {', '.join(allowed)}" if 0 < len(allowed) <= MANY else ""


def _meaning_problems(document: Document, path: Path, bad: list[KeyPath]) -> Iterator[Problem]:
    """Yield what the schema cannot see, for the parts in which it saw no mistake (`bad`)."""

    touched = {where[:i] for where in bad for i in range(len(where) + 1)}
    everything = () in bad or ("cases",) in bad

    def sound(where: KeyPath) -> bool:
        return not everything and where not in touched

    data = document.data
    if not isinstance(data, dict):
        return
    yield from (
        case_problems(document, ("defaults",), data["defaults"]) if isinstance(data.get("defaults"), dict) else ()
    )
    if "module" in data and sound(("module",)):
        yield from _module_problems(document, path, ("module",), data["module"])
    defaults = data.get("defaults") if sound(("defaults",)) else {}
    cases = data.get("cases")
    if "module" not in data and sound(()):
        yield from _lacking_modules(document, cases)
    for name, case in cases.items() if isinstance(cases, dict) else ():
        here: KeyPath = ("cases", name)
        if isinstance(case, dict):
            if "module" in case and sound((*here, "module")):
                yield from _module_problems(document, path, (*here, "module"), case["module"])
            if "op" not in case and "factory" not in case and not is_attribute(name):
                yield document.problem(here, f"'{name}' is no name of an op; say which with `op:`", at_key=True)
            if conflict := conflicting({**(defaults or {}), **case}, case):
                yield document.problem(here, conflict)
            yield from case_problems(document, here, case)
            if sound((*here, "upstream")):
                yield from upstream_problems(document, path.parent, here, case.get("upstream", ()))
            inputs = case.get("inputs")
            for key, value in inputs.items() if isinstance(inputs, dict) else ():
                if sound((*here, "inputs", key)):
                    yield from input_problems(document, path.parent, (*here, "inputs", key), value)


def _lacking_modules(document: Document, cases: Any) -> Iterator[Problem]:
    """Yield the cases without a module in a file without one; one problem for the file if no case has any."""
    bodies = {name: case for name, case in cases.items() if isinstance(case, dict)} if isinstance(cases, dict) else {}
    lacking = [name for name, case in bodies.items() if "module" not in case]
    hint = "give the Python file of the ops: `module: ops.py`"
    if len(lacking) == len(bodies):
        yield document.problem((), "`module` is missing", hint)
        return
    for name in lacking:
        yield document.problem(
            ("cases", name), "`module` is missing here and at the top of the file", hint, at_key=True
        )


def _module_problems(document: Document, path: Path, where: KeyPath, module: str) -> Iterator[Problem]:
    if _is_file(module):
        if not module.endswith(".py"):
            yield document.problem(where, f"{_shown(module)} is neither a .py file nor a dotted module name")
        elif not is_file(path.parent / module):
            near = nearest_file(path.parent, module)
            hint = f"did you mean `{near}`?" if near else ""
            yield document.problem(where, f"there is no file {_shown(module)} beside this spec", hint)
    elif not is_attribute(module):
        yield document.problem(where, f"{_shown(module)} is neither a .py file nor a dotted module name")


def _is_file(module: str) -> bool:
    return module.endswith(".py") or "/" in module


def _build(document: Document, path: Path) -> Spec:
    data = document.data
    defaults = {"module": data["module"], **data.get("defaults", {})} if "module" in data else data.get("defaults", {})
    return Spec(
        document.file, tuple(_case(document, path, name, {**defaults, **case}) for name, case in data["cases"].items())
    )


_TUPLES = ("intended", "expect", "tapes", "devices", "dtypes", "tags", "upstream")


def _case(document: Document, path: Path, name: str, data: dict[str, Any]) -> Case:
    fields: dict[str, Any] = {
        key: tuple(data[key]) if key in _TUPLES else data[key] for key in data if key not in ("op", "inputs", "module")
    }
    if "modes" in data:
        fields["modes"] = expanded([data["modes"]] if isinstance(data["modes"], str) else data["modes"])
    module = data["module"]
    if _is_file(module):
        module = str((path.parent / module).resolve())
    if fields.get("reference") in (EXACT, EXACT_AUTO):
        fields["exact"] = fields.pop("reference")
    if isinstance(fields.get("variables"), list):
        fields["variables"] = tuple(fields["variables"])
    for key in ("order", "samples", "seed"):
        if key in fields:
            fields[key] = int(fields[key])
    inputs = {key: _input(key, value) for key, value in data.get("inputs", {}).items()}
    place = document.keys.get(("cases", name))
    return Case(
        id=f"{document.file}::{name}",
        name=name,
        spec=document.file,
        folder=str(path.parent.resolve()),
        line=place.line if place else 1,
        module=module,
        op=data.get("op", name),
        inputs=inputs,
        expect_line=_line_of_expect(document, name),
        **fields,
    )


def _line_of_expect(document: Document, name: str) -> int:
    """Return the line of a case's `expect`, that of the defaults if it has none of its own, 0 for neither."""
    place = document.keys.get(("cases", name, "expect")) or document.keys.get(("defaults", "expect"))
    return place.line if place else 0


def _input(name: str, value: Any) -> Input:
    if not isinstance(value, dict):
        return Input(name, None, _literal_dtype(value), "values", value)
    if "items" in value:
        return _structure(name, value)
    from gradcheck.spec.schema import SOURCES

    source = next((s for s in SOURCES if s in value), None)
    dtype = value.get("dtype") or (_literal_dtype(value["values"]) if source == "values" else None)
    if dtype is None and source == "integers":
        dtype = "int32"
    dtype = dtype or ("" if source == "file" else "float32")
    if source is None:
        source = "normal" if dtype.startswith(("float", "bfloat", "complex")) else "integers"
    domain = value.get("domain")
    ragged = value.get("ragged")
    return Input(
        name,
        shape=tuple(int(size) for size in value["shape"]) if "shape" in value else None,
        dtype=dtype,
        source=source,
        parameters=value.get(source),
        avoid=tuple(value.get("avoid", ())),
        margin=value.get("margin", 0.05),
        differentiate=value.get("differentiate", True),
        domain=(domain[0], domain[1]) if domain else None,
        structure=value.get("structure"),
        sparse=value.get("sparse", False),
        ragged=tuple(ragged) if ragged is not None else None,
    )


def _structure(name: str, value: dict[str, Any]) -> Input:
    items = value["items"]
    parts: Any
    if isinstance(items, dict):
        parts = {key: _input(key, _inherit(value, item)) for key, item in items.items()}
    else:
        parts = tuple(_input(str(i), _inherit(value, item)) for i, item in enumerate(items))
    return Input(name, differentiate=value.get("differentiate", True), items=parts)


def _inherit(parent: dict[str, Any], item: Any) -> Any:
    passed = {key: parent[key] for key in ("avoid", "margin", "differentiate", "domain") if key in parent}
    if not passed:
        return item
    return {**passed, **item} if isinstance(item, dict) else {**passed, "values": item}


def _literal_dtype(value: Any) -> str:
    leaves = list(_leaves(value))
    if any(isinstance(leaf, str) for leaf in leaves):
        return "string"
    if leaves and all(isinstance(leaf, bool) for leaf in leaves):
        return "bool"
    if leaves and all(isinstance(leaf, int) for leaf in leaves):
        return "int32"
    return "float32"


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value
