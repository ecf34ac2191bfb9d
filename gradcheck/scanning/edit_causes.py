# SPDX-License-Identifier: Apache-2.0
"""Which mistake an edit undoes: by the family of the edit, and by the words that it puts there."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

# Words of an edit that say more than its family, the first that is there.
_BY_WORDS = (
    ("transpose", "transposed"),
    ("adjoint", "transposed"),
    ("conj(", "conjugate"),
    ("set_diag(", "inner-factor"),
    ("> 0", "mask"),
    ("tf.size(", "mean-not-sum"),
    ("reverse", "index"),
    ("exclusive", "index"),
    ("keepdims=True)", "missing-term"),
    ("axis=", "axis"),
    ("keepdims", "axis"),
    ("reduce_sum", "axis"),
    ("reduce_mean", "axis"),
)
# The mistake that the edits of a family undo, if their words say no other.
BY_FAMILY = {
    "numbers": "inner-factor",
    "axes": "axis",
    "thresholds": "mask",
    "signs": "sign-flip",
    "operators": "operand",
    "calls": "operand",
    "letters": "transposed",
    "indices": "index",
    "comparisons": "mask",
    "names": "operand",
    "exchanged": "swapped-inputs",
    "factors": "inner-factor",
    "divisors": "inner-factor",
    "matrices": "inner-factor",
    "masks": "mask",
    "slopes": "bypassed",
    "derivatives": "operand",
    "terms": "missing-term",
    "uses": "missing-term",
    "counts": "mean-not-sum",
    "wraps": "axis",
}
# Families that undo what has another name: what is passed over in the chain lacks the factor of a function or the term
# of a normalisation; what is wrong on one side only lacks a mask or a sign.
_ALSO = (("factors", "bypassed"), ("terms", "bypassed"), ("masks", "region"))
# Families whose edits keep what stands there: words in it were the user's.
_PLAIN = (
    "numbers",
    "axes",
    "thresholds",
    "signs",
    "operators",
    "comparisons",
    "names",
    "exchanged",
    "letters",
    "indices",
    "uses",
    "counts",
    "divisors",
    "matrices",
)


def cause_of(family: str, text: str, before: str) -> str:
    """Return the cause that an edit undoes; `before` is what it replaces, whose words say nothing if they stay."""
    if family == "calls" and ("mean" in before) != ("mean" in text) and ("sum" in before) != ("sum" in text):
        return "mean-not-sum"
    if family not in _PLAIN:
        # A form may hold what it replaces more than once.
        copies = max(1, text.count(before))
        for words, cause in _BY_WORDS:
            if text.count(words) != copies * before.count(words):
                return cause
    return BY_FAMILY[family]


def undoes(family: str, cause: str | None) -> bool:
    """Return whether edits of a family undo a mistake."""
    return BY_FAMILY[family] == cause or (family, cause) in _ALSO


def by_meaning(numbers: Sequence[ast.expr], parents: Mapping[ast.AST, ast.AST]) -> dict[str, list[ast.expr]]:
    """Return the numbers by the family of their edits: what is compared, names axes, is an index, and all others."""
    found: dict[str, list[ast.expr]] = {"thresholds": [], "numbers": [], "axes": [], "indices": []}
    for node in numbers:
        if isinstance(parents.get(node), ast.Compare):
            found["thresholds"].append(node)
        elif is_axis(node, parents):
            found["axes"].append(node)
        else:
            found["indices" if _is_index(node, parents) else "numbers"].append(node)
    return found


def _is_index(node: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> bool:
    """Return whether a number stands in an index, alone or in a sum."""
    while isinstance(parent := parents.get(node), (ast.BinOp, ast.UnaryOp, ast.Slice, ast.Tuple)):
        node = parent
    return isinstance(parent, ast.Subscript) and node is parent.slice


def is_axis(node: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> bool:
    """Return whether a number is, alone or in a list, a whole one that a function of TensorFlow takes after a tensor.

    Such numbers are axes, permutations and shifts.
    """
    if not (isinstance(node, ast.Constant) and type(node.value) is int) or is_length(node, parents):
        return False
    parent = parents.get(node)
    while isinstance(parent, (ast.List, ast.Tuple, ast.UnaryOp, ast.keyword)):
        node, parent = parent, parents.get(parent)
    if not (isinstance(parent, ast.Call) and isinstance(parent.func, ast.Attribute)):
        return False
    return node in parent.keywords or node in parent.args[1:]


def is_length(node: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> bool:
    """Return whether a number is the length of a Fourier transform: one of zero ends the process."""
    while (parent := parents.get(node)) is not None:
        if isinstance(parent, ast.Call) and isinstance(parent.func, ast.Attribute) and "fft" in parent.func.attr:
            return True
        node = parent
    return False
