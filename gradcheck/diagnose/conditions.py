# SPDX-License-Identifier: Apache-2.0
"""Words for a condition of the user's code and the side on which it is."""

from __future__ import annotations

import ast
import linecache
import os
from dataclasses import replace

from gradcheck.backend.tensorflow.conditions import Condition
from gradcheck.measure.lab import Lab
from gradcheck.results import Finding
from gradcheck.verdict.tolerances import LONGEST_LINE

# What an op that is no comparison decides: where its condition holds, and where not.
_WORDS = {
    "Maximum": ("the first of two numbers is the larger", "the second of two numbers is the larger"),
    "Minimum": ("the first of two numbers is the larger", "the second of two numbers is the larger"),
    "ClipByValue": ("a number lies within the bounds", "a number lies beyond the bounds"),
    "Relu": ("a number is positive", "a number is not positive"),
    "Abs": ("a number is positive", "a number is not positive"),
    "Sign": ("a number is positive", "a number is not positive"),
    "ArgMax": ("the first of a row is the largest", "another than the first of a row is the largest"),
    "ArgMin": ("the first of a row is the least", "another than the first of a row is the least"),
    "TopKV2": (
        "a row begins with a larger number than its second",
        "a row does not begin with a larger number than its second",
    ),
}


# Mismatches for which a branch of grad_fn may be the reason.
_BY_A_BRANCH = ("region", "elements", "unknown")


def with_suspects(lab: Lab, finding: Finding) -> Finding:
    """Return a mismatch in some elements or inputs with the places of grad_fn's conditions."""
    suspected = finding.level == "error" and finding.code == "gradient-mismatch" and finding.cause in _BY_A_BRANCH
    if not suspected or lab.steering is None:
        return finding
    own = [c for c in lab.steering.of_grad if _is_written(c)]
    if not own:
        return finding
    places = ", ".join(dict.fromkeys(f"{os.path.basename(c.file)}:{c.line}" for c in own))
    said = f"only grad_fn, not the forward, has the condition at {places}"
    if not lab.steering.only_in_grad:
        said = f"compare what grad_fn decides at {places} with what the forward decides"
    return replace(finding, hint=f"{finding.hint}; {said}" if finding.hint else said)


def _is_written(condition: Condition) -> bool:
    """Return whether the user's line decides something: functions of TensorFlow hold conditions of their own."""
    text = linecache.getline(condition.file, condition.line)
    return any(word in text for word in _DECIDING)


# Words of a line that decides something.
_DECIDING = (
    *("<", ">", "==", "!=", "if ", "where", "cond", "equal", "greater", "less", "max", "min", "relu", "clip", "abs"),
    *("sign", "sort", "top_k", "floor", "ceil", "round", "mask", "while", "case", "logical"),
)


def told(condition: Condition, side: bool) -> str:
    """Return when something happens: `` `x > 3.0` at ops.py:12 holds``, of a line with several the whole line."""
    at = f" at {os.path.basename(condition.file)}:{condition.line}" if condition.file else ""
    text = linecache.getline(condition.file, condition.line).strip() if condition.file else ""
    comparison = _only_comparison(text, condition.op)
    if comparison:
        return f"`{comparison}`{at} {'holds' if side else 'does not hold'}"
    if len(text) > LONGEST_LINE:
        text = f"{text[:LONGEST_LINE]}..."
    code = f" (`{text}`)" if text else ""
    if condition.op in _WORDS:
        return f"{_WORDS[condition.op][0 if side else 1]}{at}{code}"
    return f"the condition{at} {'holds' if side else 'does not hold'}{code}"


def _only_comparison(line: str, op: str) -> str | None:
    """Return the comparison of a line that an op makes, None where the line holds none or several of its kind."""
    try:
        tree = ast.parse(f"{line} pass" if line.endswith(":") else line)
    except SyntaxError:
        return None
    kind = _COMPARISONS.get(op, ())
    found = [n for n in ast.walk(tree) if isinstance(n, ast.Compare) and len(n.ops) == 1 and isinstance(n.ops[0], kind)]
    return ast.get_source_segment(line, found[0]) if len(found) == 1 else None


# The comparisons of Python, by the op that each makes.
_COMPARISONS: dict[str, tuple[type[ast.cmpop], ...]] = {
    "Greater": (ast.Gt,),
    "GreaterEqual": (ast.GtE,),
    "Less": (ast.Lt,),
    "LessEqual": (ast.LtE,),
    "Equal": (ast.Eq,),
    "NotEqual": (ast.NotEq,),
}
