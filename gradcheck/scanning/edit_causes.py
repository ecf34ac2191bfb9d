# SPDX-License-Identifier: Apache-2.0
"""Which mistake an edit undoes: by the family of the edit, and by the words that it puts there."""

from __future__ import annotations

# Words of an edit that say more than its family, the first that is there.
_BY_WORDS = (
    ("transpose", "transposed"),
    ("adjoint", "transposed"),
    ("conj(", "conjugate"),
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
_BY_FAMILY = {
    "numbers": "inner-factor",
    "thresholds": "mask",
    "signs": "sign-flip",
    "operators": "operand",
    "calls": "operand",
    "comparisons": "mask",
    "names": "operand",
    "exchanged": "swapped-inputs",
    "factors": "inner-factor",
    "terms": "missing-term",
    "wraps": "axis",
}
# Families whose edits keep what stands there: words in it were the user's.
_PLAIN = ("numbers", "thresholds", "signs", "operators", "comparisons", "names", "exchanged")


def cause_of(family: str, text: str, before: str) -> str:
    """Return the cause that an edit undoes; `before` is what it replaces, whose words say nothing of it."""
    if family not in _PLAIN:
        for words, cause in _BY_WORDS:
            if text.count(words) > before.count(words):
                return cause
    return _BY_FAMILY[family]
