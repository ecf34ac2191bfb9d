# SPDX-License-Identifier: Apache-2.0
"""Mends that were tried: a line of code with which the gradient passes the whole comparison on fresh draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gradcheck.backend.tensorflow.recorder import Rule
from gradcheck.diagnose.causes import LACKING, UNNAMED
from gradcheck.diagnose.contrast import contrast_of
from gradcheck.diagnose.counterfactual import TWO_CHANGES
from gradcheck.diagnose.places import rules_named
from gradcheck.files import shown
from gradcheck.measure.edited import Clues, FaultsLeft, Mend, Trials, mend_at
from gradcheck.measure.lab import Lab
from gradcheck.measure.measurement import Measurement
from gradcheck.measure.mended import Wanted, shown_at
from gradcheck.measure.noise import packed_values
from gradcheck.numerics.arrays import Array
from gradcheck.results import Finding, Source
from gradcheck.scanning.mending import divided
from gradcheck.scanning.neutral import without_neutral
from gradcheck.scanning.quotes import names_in_quotes
from gradcheck.scanning.returns import line_at
from gradcheck.scanning.syntax import undone
from gradcheck.verdict.tolerances import DENOMINATORS, FRACTION_RTOL, WEAK

ONE_LINE = "one line of grad_fn is wrong, and with the fix it is right"
ONE_LINE_HERE = "one line of grad_fn is wrong"
# What a word of the user's line says by itself, and what changed rules of the forward say that are much the same.
PRECISE = ("axis", "index", "transposed", "mean-not-sum")
_READ_FROM_THE_FORWARD = ("stopped", "bypassed", "operand")
FACTORS = ("constant-factor", "sign-flip")
# Gradients that are another function's on purpose, more often than not.
MEANT = ("straight-through",)
OR_DECLARE = (
    "if it is meant (a reversal, a scaled gradient), declare the function whose gradient it is with `surrogate`"
)


def with_mend(lab: Lab, finding: Finding, faults_left: FaultsLeft, trials: Trials) -> Finding:
    """Return a mismatch with the line that mends it, as it is if no line is found that does."""
    place = next((i for i, slot in enumerate(lab.slots) if slot.name == finding.wrt), None)
    if finding.code != "gradient-mismatch" or place is None or not _may_be_with_fix(lab, finding):
        return finding
    part = lab.layout.inputs.ranges()[place]
    if _is_identity(lab, part):
        return replace(finding, hint=f"{finding.hint or 'correct the rule'}; {OR_DECLARE}")
    measurement = next((m for m in lab.known_measurements if m.slot.name == finding.wrt), None)
    if measurement is not None and measurement.wrong.any():
        return finding if measurement.by_user else _with_mend_here(lab, finding, measurement, faults_left, trials)
    return _with_mend_elsewhere(lab, finding, part, faults_left, trials)


def _with_mend_here(
    lab: Lab, finding: Finding, measurement: Measurement, faults_left: FaultsLeft, trials: Trials
) -> Finding:
    """Return a mismatch at the sample with its mend."""
    wanted = np.full(lab.layout.inputs.width, np.nan)
    for known in lab.known_measurements:
        wanted[known.part] = np.where(known.decided, _wanted(known), np.nan)
    decided = np.flatnonzero(measurement.decided & np.isfinite(measurement.wanted))
    factor = _factor(measurement) if finding.cause in FACTORS else None
    line = None if factor is None else _divided(lab, finding, factor)
    right = Wanted(str(finding.wrt), lab.vector(), wanted, decided + measurement.part.start)
    wrong = tuple(known.slot.name for known in lab.known_measurements if known.wrong.any())
    is_word = line is not None and factor is not None and undone(factor) not in line[1]
    names = names_in_quotes(finding.message)
    clues = Clues(finding.cause, factor, line, is_word, wrong, _rule_of(lab, finding), names)
    mend = mend_at(lab, right, faults_left, clues, trials)
    return _with_fix(lab, finding, mend, contrast_of(measurement, lab.facts.stops))


def _wanted(measurement: Measurement) -> Array:
    """Return what a gradient is to be: autodiff where it is the finite difference up to the error of that.

    A difference that shows a large mistake was not made exact.
    """
    autodiff, m = measurement.autodiff, measurement
    if autodiff is None or m.by_user:
        return m.wanted
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(np.abs(autodiff - m.wanted) <= m.error, autodiff, m.wanted)


def _with_mend_elsewhere(lab: Lab, finding: Finding, part: slice, faults_left: FaultsLeft, trials: Trials) -> Finding:
    """Return a mismatch at other inputs, which its counterexample holds, with its mend."""
    x = shown_at(lab, finding)
    wanted = None if x is None else lab.autodiff(replace(lab.precision.point, x=x))
    if x is None or wanted is None or not np.isfinite(wanted).all():
        return finding
    right = Wanted(str(finding.wrt), x, wanted, np.arange(part.start, part.stop))
    clues = Clues(finding.cause, rule=_rule_of(lab, finding), names=names_in_quotes(finding.message))
    return _with_fix(lab, finding, mend_at(lab, right, faults_left, clues, trials))


def _may_be_with_fix(lab: Lab, finding: Finding) -> bool:
    """Return whether a mend is worth looking for: not of what is meant, declared, or known to the case."""
    known = finding.cause in MEANT or {finding.code, finding.label} & set(lab.case.expect)
    declared = lab.case.surrogate or lab.case.expected_vjp
    return lab.custom and not (lab.random or known or declared or lab.recorder.edited)


def _is_identity(lab: Lab, part: slice) -> bool:
    """Return whether the forward hands an input on as it is: then another gradient is what the op is for."""
    values = packed_values(lab, lab.outputs)
    return values.size == part.stop - part.start and bool(np.array_equal(values, lab.vector()[part]))


def _divided(lab: Lab, finding: Finding, factor: float) -> tuple[int, str] | None:
    """Return the line that returns the gradient, divided by a factor where people would write it."""
    rule = _rule_of(lab, finding)
    if rule is None or finding.wrt not in rule.names or finding.source is None:
        return None
    text = divided(finding.source.text, factor, rule.names.index(str(finding.wrt)), len(rule.names))
    return None if text is None else (finding.source.line, text)


def _rule_of(lab: Lab, finding: Finding) -> Rule | None:
    """Return the rule that a finding is about: the op's only one, or the one that it names; None if that is open."""
    rules = list(lab.recorder.rules.values())
    rules = rules if len(rules) == 1 else rules_named(lab, finding)
    return rules[0] if len(rules) == 1 else None


def _with_fix(lab: Lab, finding: Finding, mend: Mend | None, contrast: str = "") -> Finding:
    """Return the finding with the line that mends it, and the line in whose place it stands.

    A line with which other checks still fail is no fix: it only names a mistake that has no name.
    """
    if mend is None:
        return finding
    rule = _rule_of(lab, finding)
    assert rule is not None
    line = line_at(rule.file, mend.edit.line)
    source = Source(shown(rule.file), line.line, rule.function, line.text)
    # Whose mistake has no name is named by its mend; one line says more than two changes elsewhere.
    message = _with_one_line(finding.message, contrast)
    if mend.whole and contrast and mend.edit.cause in PRECISE and finding.cause in _READ_FROM_THE_FORWARD:
        message = f"the gradient of `{finding.wrt}` is wrong: {ONE_LINE}. {contrast}"
    unnamed = message != finding.message or finding.cause == "approximate"
    if not (mend.whole or unnamed):
        return finding
    # A factor that a sum in the place of a mean undoes is the count of what is averaged.
    unnamed = unnamed or (finding.cause, mend.edit.cause) == ("constant-factor", "mean-not-sum")
    # Where it is wrong, or the shape of what it lacks, does not say what is wrong.
    unnamed = unnamed or (mend.whole and (finding.cause == "elements" or LACKING in finding.message))
    cause, hint = (mend.edit.cause or finding.cause, None) if unnamed else (finding.cause, finding.hint)
    text = _without_effect(without_neutral(mend.line, line.text))
    return replace(
        finding,
        message=message if mend.whole else finding.message.replace(UNNAMED, ONE_LINE_HERE),
        cause=cause,
        hint=hint
        if mend.whole
        else f"try `{text}`: with it the gradient is right here, though not at all other inputs",
        fix=text if mend.whole else finding.fix,
        source=source,
        file=source.file,
        line=source.line,
    )


def _with_one_line(message: str, contrast: str) -> str:
    """Return a message with the fix in the place of a mistake without a name; `contrast` is what follows it."""
    before, two, after = message.partition(TWO_CHANGES)
    if two and contrast in after:
        return f"{before}{ONE_LINE}. {after[after.index(contrast) :]}"
    return message.replace(UNNAMED, ONE_LINE)


def _without_effect(line: str) -> str:
    """Return a line as people would write it: of one that gives a name its own value that nothing is left."""
    name, _, value = line.partition(" = ")
    return "pass  # leave this line out" if name and name == value else line


def _factor(measurement: Measurement) -> float | None:
    """Return what the gradient is a multiple of its reference by, as a fraction that people write if it is one."""
    g, w = measurement.gradient, measurement.wanted
    strong = measurement.decided & np.isfinite(g) & (np.abs(w) > WEAK * np.abs(w).max(initial=0.0))
    if not strong.any():
        return None
    ratio = float(np.median(g[strong] / w[strong]))
    for denominator in range(1, DENOMINATORS + 1):
        nearest = round(ratio * denominator) / denominator
        if nearest and abs(ratio - nearest) <= FRACTION_RTOL * abs(ratio):
            return nearest
    return ratio or None
