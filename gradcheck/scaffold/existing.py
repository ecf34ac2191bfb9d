# SPDX-License-Identifier: Apache-2.0
"""A spec and a test for ops that exist, with the inputs that were found by trying."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from gradcheck.engine.unspecified import COMMAND, confirming
from gradcheck.results import FAILED, SKIPPED, CaseResult
from gradcheck.scaffold import SCHEMA_FILE, filled_template, schema_text
from gradcheck.spec.model import Case


def render_existing(stem: str, module: str, cases: Iterable[Case], results: Iterable[CaseResult]) -> dict[str, str]:
    """Return the files for ops that exist: path relative to their folder, and text.

    `module` is how the spec names the Python file; `results` are those of `cases` with guessed inputs.
    """
    by_id = {result.id: result for result in results}
    found = [(case, by_id[case.id]) for case in cases if case.id in by_id]
    blocks = [_block(case, result) for case, result in found]
    head = f"# yaml-language-server: $schema={SCHEMA_FILE}\nmodule: {_inline(module)}\ncases:\n"
    return {
        f"{stem}.yaml": head + "\n".join(blocks),
        f"test_{stem}.py": filled_template("test.py", {"name": stem}),
        SCHEMA_FILE: schema_text(),
    }


def summary_of(results: Iterable[CaseResult]) -> list[str]:
    """Return what to say of each op: what was guessed, or what is left to fill in."""
    lines = []
    for result in results:
        if result.status == SKIPPED:
            lines.append(f"{result.case}: {_left(result.reason or 'needs an input')}")
        elif result.status == FAILED:
            labels = dict.fromkeys(f.label for f in result.findings if f.level == "error")
            lines.append(f"{result.case}: its gradient is wrong with these inputs: {', '.join(labels)}")
    return lines


def _block(case: Case, result: CaseResult) -> str:
    name = case.op.replace(".", "_")
    lines = [f"  {name}:"]
    if name != case.op:
        lines.append(f"    op: {case.op}")
    guess = result.guessed
    if guess is not None and guess.build:
        lines.append(f"    build: {_inline(dict(guess.build))}")
    if guess is None or not guess.inputs:
        left = _left(result.reason or "needs an input")
        lines += ["    inputs: {x: {shape: [4, 3]}}  # the shapes that it takes", f"    skip: {_inline(left)}"]
        return "\n".join(lines) + "\n"
    lines.append("    inputs:")
    lines += [f"      {key}: {_inline(value)}" for key, value in guess.inputs.items()]
    if guess.arguments:
        lines.append(f"    arguments: {_inline(dict(guess.arguments))}")
    labels = list(dict.fromkeys(f.label for f in result.findings if f.level == "error"))
    line = confirming(result.reason or "") if result.status == SKIPPED else None
    if line is not None and labels:
        lines += _confirmation(line, labels)
    elif result.status == SKIPPED:
        lines.append(f"    skip: {_inline(result.reason or '')}")
    return "\n".join(lines) + "\n"


def _left(reason: str) -> str:
    """Return what is to be done in the spec that is written, in place of the command that has written it."""
    said, command, rest = reason.partition(f"; write: {COMMAND}")
    wanted = rest.partition("fill in ")[2]
    return f"{said}; add {wanted}, give `inputs`, and delete `skip`" if command and wanted else reason


def _confirmation(line: str, labels: list[str]) -> list[str]:
    """Return the lines of a gradient that is not that of the forward on purpose: to be confirmed by its author."""
    return [
        "    # Confirm: if the gradient is meant to be another one, write this in the place of what follows:",
        f"    # {line}",
        f"    expect: [{', '.join(labels)}]",
        "    reason: to be confirmed, the gradient is not that of the forward",
    ]


def _inline(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
    return str(text).removesuffix("...\n").strip()


def place_of(source: Path, folder: Path) -> str:
    """Return how a spec in `folder` names a Python file."""
    return Path(os.path.relpath(source.resolve(), folder.resolve())).as_posix()
