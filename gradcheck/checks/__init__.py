"""The checks, in the order in which they run: the first message is the root cause."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from gradcheck.autodiff.subject import Subject
from gradcheck.checks import (
    agreement,
    captures,
    contract,
    determinism,
    elsewhere,
    far,
    formula,
    near,
    precision,
    second_order,
    shapes,
    upstream,
    values,
)
from gradcheck.results import Comparison, Finding

Check = Callable[[Subject, Sequence[Finding]], Iterator[Finding | Comparison]]

CHECKS: dict[str, Check] = {
    module.PHASE: module.check
    for module in (
        contract,
        determinism,
        values,
        captures,
        upstream,
        formula,
        precision,
        agreement,
        shapes,
        second_order,
        near,
        elsewhere,
        far,
    )
}
