"""Words for a condition of the user's code and the side on which it is."""

from __future__ import annotations

import linecache
import os

from gradcheck.backend.tensorflow.conditions import Condition

_LONGEST = 60
# What an op that is no comparison decides.
_WORDS = {
    "Maximum": "the first of two numbers is the larger",
    "Minimum": "the first of two numbers is the larger",
    "Relu": "a number is positive",
    "Abs": "a number is positive",
    "Sign": "a number is positive",
    "ArgMax": "the first of a row is the largest",
    "ArgMin": "the first of a row is the least",
    "TopKV2": "a row begins with a larger number than its second",
}


def told(condition: Condition, side: bool) -> str:
    """Return the condition with its place: `a condition holds (ops.py:12: x > 3.0)`."""
    said = _WORDS.get(condition.op, "a condition")
    if condition.op in _WORDS:
        words = said if side else f"it is not so that {said}"
    else:
        words = f"{said} {'holds' if side else 'does not hold'} that is the other way round at the sample"
    if not condition.file:
        return words
    text = linecache.getline(condition.file, condition.line).strip()
    at = f"{os.path.basename(condition.file)}:{condition.line}"
    return (
        f"{words} ({at}: {text if len(text) <= _LONGEST else text[: _LONGEST - 3] + '...'})"
        if text
        else f"{words} ({at})"
    )
