# SPDX-License-Identifier: Apache-2.0
"""The gradients that small edits of a grad_fn give, and whether one of them passes the whole comparison."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gradcheck.backend.tensorflow.edited import Editable, editables
from gradcheck.backend.tensorflow.faults import refusals, refused
from gradcheck.backend.tensorflow.runs import Run
from gradcheck.backend.tensorflow.vector_op import VectorOp
from gradcheck.differences.assess import assess
from gradcheck.differences.vector_function import Point
from gradcheck.measure.gradients import tolerance_of
from gradcheck.measure.noise import own_gradient
from gradcheck.measure.own_points import moves_variables, own_point
from gradcheck.measure.precision import vector_op
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.closeness import wide
from gradcheck.results import Finding
from gradcheck.scanning.edits import Known, edits
from gradcheck.scanning.syntax import Edit
from gradcheck.verdict.tolerances import (
    EDIT_SECONDS,
    EDITED_RTOL,
    EDITED_SIZE,
    EDITS_KEPT,
    EDITS_TRIED,
    EDITS_VERIFIED,
    MEND_DRAWS,
    NAMED_SECONDS,
)
from gradcheck.ways import EAGER

if TYPE_CHECKING:
    from gradcheck.measure.lab import Lab

# What the checks find, with the code as it is at the time of the call: of all inputs, or of one of them.
FaultsLeft = Callable[["Lab", "str | None"], Sequence[Finding]]


@dataclass(frozen=True, slots=True)
class Mend:
    """Hold an edit with which the gradient passes, and the line that it makes.

    `whole` says that every check passes, not only the comparison at fresh points.
    """

    edit: Edit
    line: str
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Code:
    """Hold what may be edited: the grad_fn of an op, then functions that only it calls."""

    parts: tuple[Editable, ...]

    def part(self, edit: Edit) -> Editable:
        """Return the part of which an edit changes a line."""
        return next(part for part in self.parts if part.holds(edit.line))

    def edited(self, edit: Edit) -> AbstractContextManager[None]:
        """Let the op run with an edit inside the block; raises SyntaxError or ValueError for one that cannot be."""
        return self.part(edit).edited(edit)

    def mended(self, edit: Edit) -> Mend:
        """Return an edit with the line that it makes."""
        return Mend(edit, self.part(edit).line_after(edit).strip())


@dataclass(frozen=True, slots=True)
class Wanted:
    """Hold the right gradient at x, packed, and the coordinates of one input (`name`) at which it is known."""

    name: str
    x: Array
    gradient: Array
    coordinates: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Clues:
    """Hold what is known of a mistake: its cause, what the gradient is to be divided by, a line to try first.

    `wrong` names the inputs whose gradients are wrong.
    """

    cause: str | None = None
    ratio: float | None = None
    line: tuple[int, str] | None = None
    wrong: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Return the seconds of the processor that the search may take: more where it alone can name the mistake."""
        return EDIT_SECONDS if self.cause in (None, "unknown") else NAMED_SECONDS


@dataclass(frozen=True, slots=True)
class Trials:
    """Hold the gradients that edits gave at a point, and the edits that cure all inputs: for all inputs of a sample.

    Where the search has `ended`, only what cured another input is tried.
    """

    gradients: dict[tuple[bytes, Edit], Array | None] = field(default_factory=dict)
    cures: list[Mend] = field(default_factory=list)
    ended: bool = False

    def keep(self, x: Array, edit: Edit, gradient: Array | None) -> None:
        """Keep what an edit gave, unless that takes much memory."""
        if len(self.gradients) * x.size <= EDITS_KEPT:
            self.gradients[x.tobytes(), edit] = gradient


def mend_at(lab: Lab, wanted: Wanted, faults_left: FaultsLeft, clues: Clues, trials: Trials) -> Mend | None:
    """Return the first edit with which the gradient is right, at x, at fresh points, and by every check.

    Where no edit cures all inputs, one that cures this one and leaves the others as they are; where none passes every
    check, one with which the gradient is right at x and at fresh points.
    """
    code = _code(lab)
    if code is None or wanted.x.size > EDITED_SIZE or moves_variables(lab, wanted.x):
        return None
    before = _gradient(lab, wanted.x)
    if before is None:
        return None
    tried = _tried(lab, code, wanted.x, _candidates(lab, code, clues, trials), clues.seconds, trials)
    right = ((e, _is_right_everywhere(g, wanted)) for e, g in tried if _is_right(g, before, wanted))
    return _first_cure(lab, code, wanted, faults_left, right, trials)


def _candidates(lab: Lab, code: Code, clues: Clues, trials: Trials) -> Iterator[Edit]:
    """Yield edits, likely ones first: what cured another input, a line that is known, those of the grad_fn."""
    yield from (cure.edit for cure in trials.cures)
    if trials.ended:
        return
    if clues.line is not None:
        yield code.parts[0].whole_line(*clues.line)
    known = _known(lab, clues)
    for part in code.parts:
        yield from edits(part.syntax, known)
        # The places of what is returned are those of the grad_fn.
        known = replace(known, wrong=())


def _first_cure(
    lab: Lab, code: Code, wanted: Wanted, faults_left: FaultsLeft, right: Iterator[tuple[Edit, bool]], trials: Trials
) -> Mend | None:
    """Return the first edit that passes every check: of all inputs, else the first that cures this input.

    `right` are the edits that give the wanted gradient of this input, and whether they give that of every input.
    """
    in_part: list[Edit] = []
    compared: list[Edit] = []
    left = EDITS_VERIFIED
    for edit, everywhere in right:
        known = next((cure for cure in trials.cures if cure.edit == edit), None)
        if known is not None:
            return known
        if not everywhere:
            in_part.append(edit)
            continue
        if _passes(lab, code, edit, wanted):
            if _whole_passes(lab, code, edit, faults_left, None):
                trials.cures.append(code.mended(edit))
                return trials.cures[-1]
            compared.append(edit)
        left -= 1
        if not left:
            break
    for edit in in_part[:EDITS_VERIFIED]:
        if _passes(lab, code, edit, wanted) and _whole_passes(lab, code, edit, faults_left, wanted.name):
            return code.mended(edit)
    return replace(code.mended(compared[0]), whole=False) if compared else None


def _known(lab: Lab, clues: Clues) -> Known:
    """Return what the edits are ordered by; variables are returned after the inputs."""
    (rule,) = lab.recorder.rules.values()
    names = [*rule.names, *(v.name for v in lab.variables)]
    wrong = [names.index(name) for name in clues.wrong if name in names]
    count = len(names) if any(place >= len(rule.names) for place in wrong) else len(rule.names)
    return Known(clues.ratio, clues.cause, tuple(wrong) if len(wrong) == len(clues.wrong) else (), count)


def _whole_passes(lab: Lab, code: Code, edit: Edit, faults_left: FaultsLeft, of: str | None) -> bool:
    """Return whether the checks find nothing that is not there without the edit."""
    with code.edited(edit):
        faults = faults_left(lab, of)
    return all(_is_older(lab, fault) for fault in faults)


def _is_older(lab: Lab, fault: Finding) -> bool:
    """Return whether a gradient that is no number with an edit is none without it, or by autodiff, at those inputs."""
    x = shown_at(lab, fault) if fault.code == "gradient-nonfinite" else None
    if x is None:
        return False
    found = _gradient(lab, x), lab.autodiff(replace(lab.precision.point, x=x))
    return any(gradient is not None and not np.isfinite(gradient).all() for gradient in found)


def shown_at(lab: Lab, finding: Finding) -> Array | None:
    """Return the sample with a counterexample in the place of its first rows, None where that does not fit."""
    values = list(lab.values)
    for i, leaf in enumerate(lab.leaves):
        own, shown_ = lab.values[i], finding.counterexample.get(leaf.name)
        rows = None if shown_ is None else np.asarray(shown_["values"], own.dtype)
        if rows is None or rows.ndim != own.ndim or rows.shape[1:] != own.shape[1:] or rows.size > own.size:
            return None
        values[i] = rows if rows.shape == own.shape else np.concatenate([rows, own[len(rows) :]])
        if i not in lab.sources and not np.array_equal(values[i], own):
            return None
    return lab.layout.inputs.pack([*(values[i] for i in lab.sources), *(lab.kept(v) for v in lab.variables)])


def _code(lab: Lab) -> Code | None:
    """Return what may be edited, None where the op has several rules or its source is not found."""
    rules = list(lab.recorder.rules.values())
    parts = editables(rules[0], lab.recorder) if len(rules) == 1 else []
    return Code(tuple(parts)) if parts else None


def _tried(
    lab: Lab, code: Code, x: Array, candidates: Iterable[Edit], seconds: float, trials: Trials
) -> Iterator[tuple[Edit, Array]]:
    """Yield edits with the gradients that they give, in eager and in the op's own dtype.

    The forward runs once for all edits of a grad_fn that read the same names.
    """
    end = time.process_time() + seconds
    again = lab.gradients.pulled_again(replace(EAGER, device=lab.first_way.device), own_point(lab, x), lab.upstream)
    # With the grad_fn of that forward among the live functions.
    code = _code(lab) or code
    seen: set[Edit] = set()
    for edit in candidates:
        if edit in seen:
            continue
        seen.add(edit)
        if len(seen) > EDITS_TRIED or time.process_time() > end:
            return
        key = x.tobytes(), edit
        gradient = trials.gradients[key] if key in trials.gradients else _with_edit(lab, code, x, edit, again)
        trials.keep(x, edit, gradient)
        if gradient is not None:
            yield edit, gradient


def _with_edit(lab: Lab, code: Code, x: Array, edit: Edit, again: Callable[[], Run]) -> Array | None:
    """Return the gradient with an edit, None where it cannot be or fails."""
    with ExitStack() as stack, refusals():
        try:
            live = code.part(edit).reaches_live(edit)
            stack.enter_context(code.edited(edit))
        except (SyntaxError, ValueError):
            return None
        return _packed(lab, refused(again)) if live else _gradient(lab, x)
    return None


def _gradient(lab: Lab, x: Array) -> Array | None:
    way = replace(EAGER, device=lab.first_way.device)
    return _packed(lab, refused(lambda: lab.gradients.run(way, own_point(lab, x), lab.upstream)))


def _packed(lab: Lab, run: Run | None) -> Array | None:
    """Return the gradient of a run, None where it has other shapes than the inputs."""
    fits = run is not None and all(
        g is None or tuple(np.shape(g)) == tuple(slot.shape) for g, slot in zip(run.gradients, lab.slots, strict=True)
    )
    return refused(lambda: own_gradient(lab, run)) if run is not None and fits else None


def _is_right(gradient: Array, before: Array, wanted: Wanted) -> bool:
    """Return whether a gradient is the wanted one where that is known, and elsewhere as before or right too."""
    known = wanted.coordinates
    with np.errstate(invalid="ignore", over="ignore"):
        allowed = EDITED_RTOL * np.abs(wanted.gradient[known]).max(initial=0.0)
        right = np.abs(gradient - wanted.gradient) <= allowed
        kept = np.abs(gradient - before) <= allowed
    unknown = np.isnan(wanted.gradient) | (np.isnan(gradient) & np.isnan(before))
    return bool(right[known].all() and (right | kept | unknown).all())


def _is_right_everywhere(gradient: Array, wanted: Wanted) -> bool:
    """Return whether the gradients of all inputs are the wanted ones, where these are known."""
    allowed = EDITED_RTOL * np.nanmax(np.abs(wanted.gradient), initial=0.0)
    with np.errstate(invalid="ignore", over="ignore"):
        return bool((np.isnan(wanted.gradient) | (np.abs(gradient - wanted.gradient) <= allowed)).all())


def _passes(lab: Lab, code: Code, edit: Edit, wanted: Wanted) -> bool:
    """Return whether the edited gradient passes the differences, in the widest precision, at x and at fresh points."""
    with code.edited(edit):
        # Another operation than the op's own, so that it is traced anew.
        op = refused(lambda: vector_op(lab, replace(lab.operation), lab.precision.op.name))
        return op is not None and all(_passes_at(lab, op, point, wanted) for point in _points(lab, wanted))


def _is_finite_at(lab: Lab, point: Point, wanted: Wanted) -> bool:
    """Return whether the gradient in the op's own dtype is a number at a point where value and autodiff are numbers."""
    plain = lab.run_plain(values=own_point(lab, point.x))
    if plain is None or not all(np.isfinite(wide(o)).all() for o in plain.outputs):
        return True
    if not np.isfinite(own_gradient(lab, plain)).all():
        return True
    gradient = _gradient(lab, point.x)
    return gradient is None or bool(np.isfinite(gradient[wanted.coordinates]).all())


def _points(lab: Lab, wanted: Wanted) -> Iterator[Point]:
    """Yield x, and points near the sample and near x; what holds farther out every check says afterwards."""
    point = lab.precision.point
    yield _point(lab, wanted.x, point.cotangent)
    for number in range(MEND_DRAWS):
        rng = lab.rng("mend", str(number))
        for start in dict.fromkeys((point.x.tobytes(), wanted.x.tobytes())):
            x = np.frombuffer(start) + point.sizes * rng.uniform(-1.0, 1.0, point.x.size)
            yield _point(lab, point.clipped(x[None])[0], rng.normal(size=point.cotangent.size))


def _point(lab: Lab, x: Array, cotangent: Array) -> Point:
    """Return a point, with an upstream of zero for outputs that are no numbers there."""
    values = lab.precision.op.value(x)
    finite = np.isfinite(values)
    return lab.precision.point.elsewhere(x, values, np.where(finite, cotangent, 0.0), lab.rng("mended"))


def _passes_at(lab: Lab, op: VectorOp, point: Point, wanted: Wanted) -> bool:
    if not np.isfinite(point.y).any():
        return True
    gradient = refused(lambda: op.gradient(point.x, point.cotangent))
    if gradient is None:
        return False
    tolerance = tolerance_of(lab, lab.precision)
    known, trusted = wanted.coordinates, lab.precision.trusted
    found = assess(point, gradient, tolerance, lab.rng("mended"), known, trusted)
    wrong = found.wrong.any() and not (lab.facts.stops and _is_autodiff(lab, point, gradient, known))
    return not wrong and _is_finite_at(lab, point, wanted)


def _is_autodiff(lab: Lab, point: Point, gradient: Array, known: NDArray[np.int64]) -> bool:
    """Return whether a gradient is that of the bare forward: what this holds fixed, differences do not."""
    autodiff = lab.autodiff(point)
    if autodiff is None:
        return False
    allowed = EDITED_RTOL * np.abs(autodiff[known]).max(initial=0.0)
    return bool((np.abs(gradient - autodiff)[known] <= allowed).all())
