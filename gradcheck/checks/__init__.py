"""The checks, in the order in which they run: the first message is the root cause."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from gradcheck.autodiff.subject import Subject
from gradcheck.checks import contract, formula
from gradcheck.results import Comparison, Finding

Check = Callable[[Subject, Sequence[Finding]], Iterator[Finding | Comparison]]

CHECKS: dict[str, Check] = {
    contract.PHASE: contract.check,
    formula.PHASE: formula.check,
}
