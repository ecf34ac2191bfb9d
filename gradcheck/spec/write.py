# SPDX-License-Identifier: Apache-2.0
"""Turn a case back into a spec file that reproduces it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import yaml

from gradcheck.spec.model import Case, Input
from gradcheck.spec.schema import is_attribute
from gradcheck.ways import EXACT, EXACT_AUTO

_PLACE = ("id", "name", "spec", "folder", "line", "module", "op", "inputs", "expect", "skip", "upstream", "samples",
          "guess", "recorded", "expect_line", "exact")  # fmt: skip
_DEFAULTS = {
    field.name: field.default if field.default_factory is MISSING else field.default_factory() for field in fields(Case)
}


def reproduction(case: Case, folder: Path, inputs: Mapping[str, str], upstream: tuple[str, ...], dtype: str) -> str:
    """Return the text of a spec in `folder` that checks `case` at saved numbers.

    `inputs` maps leaf names to .npy files in `folder`; what is not saved is written as it
    was; `dtype` is the one of `dtypes` in which the case failed.
    """
    body: dict[str, Any] = {} if case.factory else {"op": case.op}
    for field in fields(Case):
        value = getattr(case, field.name)
        if field.name not in _PLACE and value not in (_DEFAULTS[field.name], None):
            body[field.name] = _plain(value)
    if case.exact is not None and not any(body.get(key) for key in ("reference", "surrogate", "expected_vjp")):
        body["reference"] = EXACT_AUTO if case.exact == EXACT_AUTO else EXACT
    if case.dtypes:
        body["dtypes"] = [dtype]
    if upstream:
        body["upstream"] = list(upstream)
    body["inputs"] = {name: _input(spec, name, case, folder, inputs) for name, spec in case.inputs.items()}
    if case.factory or case.guess:
        made = {name: {"file": file} for name, file in inputs.items() if is_attribute(name) and "." not in name}
        body["inputs"] = {**made, **body["inputs"]}
    module = case.module
    if module.endswith(".py"):
        module = Path(os.path.relpath(module, folder)).as_posix()
    data = {"module": module, "cases": {case.name: body}}
    return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110))


def _input(spec: Input, name: str, case: Case, folder: Path, saved: Mapping[str, str]) -> Any:
    common: dict[str, Any] = {}
    if spec.differentiate is not True:
        common["differentiate"] = spec.differentiate
    if isinstance(spec.items, Mapping):
        items: Any = {k: _input(v, f"{name}.{k}", case, folder, saved) for k, v in spec.items.items()}
        return {"items": items, **common}
    if spec.items is not None:
        items = [_input(v, f"{name}[{i}]", case, folder, saved) for i, v in enumerate(spec.items)]
        return {"items": items, **common}
    text: dict[str, Any] = {"dtype": spec.dtype} if spec.dtype else {}
    if name in saved:
        text["file"] = saved[name]
    elif spec.source == "constant":
        text |= {"constant": spec.parameters, "shape": list(spec.shape or ())}
    else:
        text["values"] = spec.parameters
    for key in ("domain", "structure", "ragged"):
        if getattr(spec, key) is not None:
            text[key] = _plain(getattr(spec, key))
    return {**text, **({"sparse": True} if spec.sparse else {}), **common}


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value
