# SPDX-License-Identifier: Apache-2.0
"""The gradients that small edits of a grad_fn give, and whether one of them passes the whole comparison."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gradcheck.backend.tensorflow.edited import Editable, editables
from gradcheck.backend.tensorflow.faults import refusals, refused
from gradcheck.backend.tensorflow.recorder import Rule
from gradcheck.backend.tensorflow.runs import Run
from gradcheck.measure.mended import (
    Wanted,
    gradient_now,
    is_older,
    is_right,
    is_right_everywhere,
    packed,
    passes_comparison,
)
from gradcheck.measure.own_points import moves_variables, own_point
from gradcheck.numerics.arrays import Array
from gradcheck.results import Finding
from gradcheck.scanning.edits import Known, edits
from gradcheck.scanning.syntax import Edit
from gradcheck.time_limits import OutOfTime, can_be_limited, time_limit
from gradcheck.verdict.tolerances import (
    EDIT_SECONDS,
    EDITED_SIZE,
    EDITS_KEPT,
    EDITS_TRIED,
    EDITS_VERIFIED,
    LOOP_SECONDS,
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
        return self.part(edit).compiled(edit).running()

    def mended(self, edit: Edit) -> Mend:
        """Return an edit with the line that it makes."""
        return Mend(edit, self.part(edit).line_after(edit).strip())


@dataclass(frozen=True, slots=True)
class Clues:
    """Hold what is known of a mistake: its cause, what the gradient is to be divided by, a line to try.

    `is_word` says that this line has another number or sign than the user's, not a factor more: it is tried first.
    `wrong` names the inputs whose gradients are wrong, `rule` is the one to edit, None where that is not known;
    `names` are those of the line of the forward whose derivative is wrong.
    """

    cause: str | None = None
    ratio: float | None = None
    line: tuple[int, str] | None = None
    is_word: bool = False
    wrong: tuple[str, ...] = ()
    rule: Rule | None = None
    names: frozenset[str] = frozenset()

    @property
    def seconds(self) -> float:
        """Return the seconds of the processor that the search may take: more where it alone can name the mistake."""
        return EDIT_SECONDS if self.cause in (None, "unknown", "elements") else NAMED_SECONDS


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
    code = _code(lab, clues.rule)
    if code is None or wanted.x.size > EDITED_SIZE or moves_variables(lab, wanted.x):
        return None
    before = gradient_now(lab, wanted.x)
    if before is None:
        return None
    line = None if clues.line is None or trials.ended else code.parts[0].whole_line(*clues.line)
    first, last = ([line], None) if line is not None and clues.is_word else ([], line)
    candidates = itertools.chain(first, _candidates(lab, code, clues, trials))
    tried = _tried(lab, code, wanted.x, candidates, last, clues, trials)
    right = ((e, is_right_everywhere(g, wanted)) for e, g in tried if is_right(g, before, wanted))
    return _first_cure(lab, code, wanted, faults_left, right, trials)


def _candidates(lab: Lab, code: Code, clues: Clues, trials: Trials) -> Iterator[Edit]:
    """Yield edits, likely ones first: what cured another input, those of the grad_fn, those of what only it calls."""
    yield from (cure.edit for cure in trials.cures)
    if trials.ended:
        return
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
    rule = clues.rule
    if rule is None or len(lab.recorder.rules) > 1:
        # What the rule of a function inside takes and returns are no inputs of the op.
        return Known(clues.ratio, clues.cause, names=clues.names)
    names = [*rule.names, *(v.name for v in lab.variables)]
    wrong = [names.index(name) for name in clues.wrong if name in names]
    count = len(names) if any(place >= len(rule.names) for place in wrong) else len(rule.names)
    places = tuple(wrong) if len(wrong) == len(clues.wrong) else ()
    return Known(clues.ratio, clues.cause, places, count, clues.names)


def _passes(lab: Lab, code: Code, edit: Edit, wanted: Wanted) -> bool:
    """Return whether the edited gradient passes the comparison at x and at fresh points."""
    with code.edited(edit):
        return passes_comparison(lab, wanted)


def _whole_passes(lab: Lab, code: Code, edit: Edit, faults_left: FaultsLeft, of: str | None) -> bool:
    """Return whether the checks find nothing that is not there without the edit."""
    with code.edited(edit):
        faults = faults_left(lab, of)
    return all(is_older(lab, fault) for fault in faults)


def _code(lab: Lab, rule: Rule | None) -> Code | None:
    """Return what may be edited of a rule, None where it is not known or its source is not found."""
    parts = [] if rule is None else editables(rule, lab.recorder)
    parts = [part for part in parts if can_be_limited() or not part.syntax.may_loop_on]
    return Code(tuple(parts)) if parts else None


def _tried(
    lab: Lab, code: Code, x: Array, candidates: Iterable[Edit], last: Edit | None, clues: Clues, trials: Trials
) -> Iterator[tuple[Edit, Array]]:
    """Yield edits with the gradients that they give, in eager and in the op's own dtype.

    The forward runs once for all edits of a grad_fn that read the same names.  For the `last` there is always time.
    """
    end = time.process_time() + clues.seconds
    again = lab.gradients.pulled_again(replace(EAGER, device=lab.first_way.device), own_point(lab, x), lab.upstream)
    # With the grad_fn of that forward among the live functions.
    code = _code(lab, clues.rule) or code
    seen: set[Edit] = set()
    for edit in candidates:
        if edit in seen:
            continue
        seen.add(edit)
        if len(seen) > EDITS_TRIED or time.process_time() > end:
            break
        key = x.tobytes(), edit
        gradient = trials.gradients[key] if key in trials.gradients else _with_edit(lab, code, x, edit, again)
        trials.keep(x, edit, gradient)
        if gradient is not None:
            yield edit, gradient
    gradient = None if last is None else _with_edit(lab, code, x, last, again)
    if last is not None and gradient is not None:
        yield last, gradient


def _with_edit(lab: Lab, code: Code, x: Array, edit: Edit, again: Callable[[], Run]) -> Array | None:
    """Return the gradient with an edit, None where it cannot be or fails."""
    part = code.part(edit)
    try:
        compiled = part.compiled(edit)
    except (SyntaxError, ValueError):
        return None
    with compiled.running(), refusals():
        if not part.syntax.may_loop_on:
            return packed(lab, refused(again)) if compiled.reaches_live else gradient_now(lab, x)
        # With another number in it the loop may never end.
        with suppress(OutOfTime), time_limit(LOOP_SECONDS):
            return packed(lab, refused(again)) if compiled.reaches_live else gradient_now(lab, x)
    return None
