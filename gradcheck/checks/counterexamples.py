# SPDX-License-Identifier: Apache-2.0
"""The smallest input at which a finding shows, which a spec can hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck.backend.tensorflow.failures import Stopped
from gradcheck.backend.tensorflow.faults import own_fault, refused
from gradcheck.checks import slopes
from gradcheck.checks.check import Item
from gradcheck.checks.exact import held_exactly
from gradcheck.diagnose.finding import level_of
from gradcheck.findings import ERROR
from gradcheck.measure.away import compare
from gradcheck.measure.lab import Lab
from gradcheck.measure.other_sizes import rows_alone
from gradcheck.measure.own_points import moves_variables, own_point
from gradcheck.measure.prepare import prepare_at
from gradcheck.measure.shrinking import shrunk
from gradcheck.numerics.arrays import Array, Arrays
from gradcheck.results import Finding
from gradcheck.sites.coordinates import free_coordinates
from gradcheck.verdict.tolerances import SHRUNK_SIZE, WRITTEN_WHOLE

Question = Callable[[Lab, Sequence[Finding]], Iterator[Item]]


def found_at(lab: Lab, values: Arrays, codes: Sequence[str], ask: Question = slopes.ask) -> Finding | None:
    """Return what a check says of the op at other leaves, None if it finds no error of `codes` there.

    Raises Stopped if the op cannot be called with them.
    """
    try:
        again = prepare_at(lab, values)
        items = list(ask(again, []))
    except Stopped:
        raise
    except Exception as error:
        if own_fault(error):
            raise
        return None
    for item in items:
        if isinstance(item, Finding) and item.code in codes and level_of(item) == ERROR:
            return item
    return None


def at_smallest(lab: Lab, finding: Finding, x: Array) -> Iterator[Item]:
    """Yield the finding with the smallest inputs that show it, and what exact arithmetic says there."""
    small = x
    if _may_be_shrunk(lab, x):
        small = shrunk(lambda point: _is_wrong(lab, point), x, _base(lab))
        finding = _with_counterexample(lab, finding, own_point(lab, small))
    yield from held_exactly(lab, finding, [small, x])


def _may_be_shrunk(lab: Lab, x: Array) -> bool:
    """Return whether smaller inputs may be looked for: a spec holds plain inputs, and no variables."""
    small_enough = lab.layout.inputs.width <= SHRUNK_SIZE and not lab.recorder.edited
    return small_enough and all(_is_plain(lab, i) for i in range(len(lab.leaves))) and not moves_variables(lab, x)


def _with_counterexample(lab: Lab, finding: Finding, values: list[Any]) -> Finding:
    """Return the finding with the inputs that show it, as it is if a rerun there finds nothing of it."""
    for tried in (rows_alone(lab, values), values):
        if tried is not None and _finds_again(lab, tried, finding.code):
            return replace(finding, counterexample=_written(lab, tried))
    return finding


def _finds_again(lab: Lab, values: Arrays, code: str) -> bool:
    try:
        return found_at(lab, values, (code,)) is not None
    except Stopped:
        return False
    finally:
        lab.gradients.state.restore()


def _is_plain(lab: Lab, i: int) -> bool:
    leaf = lab.leaves[i]
    numbers = lab.values[i].dtype.kind in "fiub" or leaf.dtype in ("bfloat16", "float16")
    return numbers and leaf.indices is None and leaf.row_lengths is None and "." not in leaf.name


def _base(lab: Lab) -> Array:
    """Return zeros where the inputs may be zero, the sample elsewhere."""
    base = lab.vector()
    free, shy = free_coordinates(lab)
    low, high = lab.layout.inputs.bounds()
    return np.where(free & ~shy & (low < 0) & (high > 0), 0.0, base)


def _is_wrong(lab: Lab, x: Array) -> bool:
    """Return whether the gradient is no number at a point in the op's own dtype, or not autodiff's."""
    narrow = own_point(lab, x)
    # The variables stay those of the sample: a spec does not hold them.
    x = lab.layout.inputs.pack([*(narrow[i] for i in lab.sources), *(lab.kept(v) for v in lab.variables)])
    low, high = lab.layout.inputs.bounds()
    if not ((x > low) & (x < high)).all():
        return False
    there = replace(lab.precision.point, x=x)
    gradient = lab.gradient_near(there)
    if gradient is None:
        return False
    if not np.isfinite(gradient).all():
        outputs, autodiff = refused(lambda: lab.precision.op.value(x)), lab.autodiff(there)
        if outputs is None or autodiff is None or not np.isfinite(outputs).all():
            return False
        return bool(np.isfinite(autodiff[~np.isfinite(gradient)]).all())
    return bool(compare(lab, x)[0].any())


def _written(lab: Lab, values: Arrays) -> Mapping[str, Any]:
    """Return the inputs as a spec writes them."""
    return {
        leaf.name: {"values": _numbers(value, leaf.dtype), "dtype": leaf.dtype}
        for leaf, value in zip(lab.leaves, values, strict=True)
    }


def _numbers(value: Any, dtype: str) -> Any:
    if np.ndim(value):
        return [_numbers(part, dtype) for part in value]
    if dtype == "bool":
        return bool(value)
    if not dtype.startswith(("float", "bfloat")):
        return int(value)
    number = float(np.format_float_positional(value, unique=True)) if dtype != "bfloat16" else float(value)
    return int(number) if number.is_integer() and abs(number) < WRITTEN_WHOLE else number
