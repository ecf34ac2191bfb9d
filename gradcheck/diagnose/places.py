# SPDX-License-Identifier: Apache-2.0
"""Fill in what people look for first: the line of the user's file that a finding is about, and the upstream."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gradcheck.backend.tensorflow.definitions import defined_at, registered_at
from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.recorder import Rule
from gradcheck.backend.tensorflow.returned import lines_run
from gradcheck.files import shown
from gradcheck.measure.lab import Lab
from gradcheck.results import Element, Finding, Source
from gradcheck.scanning.returns import has_branches, line_at, returning_line, source_at

# Findings about a variable, whose creation is what to look at.
_OF_A_VARIABLE = frozenset({"variable-untracked"})


def placed(finding: Finding, lab: Lab) -> Finding:
    """Return the finding with its source line, and its elements with the upstream at their place."""
    source = finding.source or source_of(finding, lab)
    if source is not None:
        finding = replace(finding, source=source, file=source.file, line=source.line)
    if finding.elements and (upstream := _upstream_like_the_input(finding, lab)) is not None:
        own = _is_elementwise(finding, lab)
        elements = tuple(_with_upstream(e, upstream, lab, finding, own) for e in finding.elements)
        finding = replace(finding, elements=elements)
    return finding


def source_of(finding: Finding, lab: Lab) -> Source | None:
    """Return the line of the user's code that a finding is about: the statement that failed, the return of
    grad_fn, or the op."""
    if finding.file and finding.line:
        return source_at(finding.file, finding.line)
    if finding.code in _OF_A_VARIABLE:
        made = lab.loaded.creations.place_of(finding.wrt, lab.every_variable)
        if made is not None:
            return source_at(*made)
    rule = _rule(finding, lab)
    if rule is None:
        return _of_registered(lab) or _of_op(lab)
    position = rule.names.index(finding.wrt) if finding.wrt in rule.names else None
    where, ran = (rule.file, rule.line, rule.function), None
    if has_branches(*where):
        ran = refused(lambda: lines_run(*where, lab.run))
    line = returning_line(*where, position, len(rule.names), ran or ())
    return None if line is None else Source(shown(rule.file), line.line, rule.function, line.text)


def rules_named(lab: Lab, finding: Finding) -> list[Rule]:
    """Return the rules of the functions that a finding names."""
    return [rule for rule in lab.recorder.rules.values() if f"`{rule.op}`" in finding.message]


def _rule(finding: Finding, lab: Lab) -> Rule | None:
    """Return the rule that a finding is about: the one that it names, or the first whose gradient was taken."""
    rules = list(lab.recorder.rules.values())
    named = rules_named(lab, finding)
    # The rule of an op inside another custom gradient does not run.
    notes = lab.gradient_notes if lab.known_run is not None else ()
    ran = [rule for rule in rules if any(note.function == rule.op for note in notes)]
    return next(iter([*named, *ran, *rules]), None)


def _of_registered(lab: Lab) -> Source | None:
    """Return the line on which a registered gradient returns, None if the op has none of the user's."""
    found = registered_at(lab.facts.rules)
    if found is None:
        return None
    file, first, name = found
    line = returning_line(file, first, name, None, 1)
    return None if line is None else Source(shown(file), line.line, name, line.text)


def _of_op(lab: Lab) -> Source | None:
    """Return the line on which the op is defined, None for one that is TensorFlow's own."""
    defined = defined_at(lab.loaded.op)
    if defined is None:
        return None
    file, line, name = defined
    return Source(shown(file), line, name, line_at(file, line).text)


def _upstream_like_the_input(finding: Finding, lab: Lab) -> np.ndarray | None:
    """Return the upstream of an op whose only output has the shape of the input, None for others."""
    slot = next((slot for slot in lab.slots if slot.name == finding.wrt), None)
    if slot is None or len(lab.upstream) != 1 or np.shape(lab.upstream[0]) != tuple(slot.shape):
        return None
    return np.asarray(lab.upstream[0])


def _is_elementwise(finding: Finding, lab: Lab) -> bool:
    """Return whether each element of the gradient takes its own element of the upstream only.

    Half of the upstream is set to zero: the gradient must be zero there and as before elsewhere.
    """
    place = next(i for i, slot in enumerate(lab.slots) if slot.name == finding.wrt)
    part = lab.layout.inputs.ranges()[place]
    kept = lab.rng("elementwise").integers(0, 2, lab.cotangent.size).astype(bool)
    point = lab.precision.point
    with_half = lab.gradient_near(replace(point, cotangent=np.where(kept, point.cotangent, 0.0)))
    with_all = lab.gradient_near(point)
    if with_half is None or with_all is None or with_half[part].size != kept.size:
        return False
    # The same numbers go through the same ops, so that they come out equal to the last digit.
    return bool(np.array_equal(with_half[part], np.where(kept, with_all[part], 0.0)))


def _with_upstream(element: Element, upstream: np.ndarray, lab: Lab, finding: Finding, elementwise: bool) -> Element:
    """Return the element with its upstream, if it is one of the sample's: elsewhere another one is drawn."""
    sample = next((leaf.values for leaf in lab.leaves if leaf.name == finding.wrt), None)
    if sample is None or len(element.index) != upstream.ndim or np.shape(sample) != upstream.shape:
        return element
    if any(i >= size for i, size in zip(element.index, upstream.shape, strict=True)):
        return element
    value, number = upstream[element.index], np.asarray(sample)[element.index]
    if np.iscomplexobj(value) or float(number) != element.input:
        return element
    slope = float(element.analytic / value) if elementwise and value else None
    return replace(element, upstream=float(value), slope=slope)
