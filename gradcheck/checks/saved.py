# SPDX-License-Identifier: Apache-2.0
"""The op saved, loaded in a fresh process, and differentiated there: eager and traced, with and without its rules."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gradcheck.backend.tensorflow.failures import first_line
from gradcheck.backend.tensorflow.faults import own_fault
from gradcheck.backend.tensorflow.fresh_process import Job, Refused, started
from gradcheck.backend.tensorflow.keras_types import is_layer, is_own
from gradcheck.backend.tensorflow.runs import numpy_dtype
from gradcheck.backend.tensorflow.saving import places_of, save_layer, save_program, save_values
from gradcheck.checks.agreement import POINTLESS, bypassed, with_first_run
from gradcheck.checks.check import FIXED, INPUTS, OUTPUTS, Check, Item, Need, blamed_before
from gradcheck.diagnose.finding import seen_in, softened
from gradcheck.measure.lab import Lab
from gradcheck.results import Finding, Skipped
from gradcheck.ways import SAVED, Way

WAY = Way(SAVED, None)
ASKED = Need(lambda lab: SAVED in lab.case.modes, "mode `saved` is not asked for", option=True)
DENSE = Need(
    lambda lab: all(leaf.indices is None and leaf.row_lengths is None for leaf in lab.leaves),
    "sparse and ragged inputs are not saved",
)
KEEP = "tf.saved_model.SaveOptions(experimental_custom_gradients=True)"


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Save the op in every way that applies, and compare what the loaded program gives with the first run."""
    blamed = blamed_before(lab, found)
    for keep_rules in (True, False):
        with tempfile.TemporaryDirectory(prefix="gradcheck-saved-") as folder:
            yield from _program(lab, folder, keep_rules, blamed)
    layer, file = lab.loaded.op, lab.loaded.module.__file__ or ""
    if is_layer(layer) and not is_own(layer) and len(lab.values) == 1 and Path(file).is_file():
        with tempfile.TemporaryDirectory(prefix="gradcheck-saved-") as folder:
            yield from _layer(lab, layer, folder, blamed)


CHECK = Check("saved", "saved", ask, (ASKED, DENSE, FIXED, INPUTS, OUTPUTS), POINTLESS)


def _program(lab: Lab, folder: str, keep_rules: bool, blamed: set[str | None]) -> Iterator[Item]:
    said = f"a SavedModel with{'' if keep_rules else 'out'} custom gradients"
    try:
        every = [variable.variable for variable in lab.every_variable]
        save_program(lab.gradients, every, lab.values, folder, keep_rules)
    except Exception as error:
        if own_fault(error):
            raise
        yield _cannot_save(lab, folder, said, error)
        return
    save_values(lab.values, lab.upstream, folder)
    for traced in (False, True):
        where = f"{said}, {'traced' if traced else 'eager'}"
        try:
            loaded = started().run(Job(folder, lab.sources, traced))
        except Refused as refusal:
            if keep_rules:
                yield seen_in(WAY, _refused(where, refusal))
            else:
                yield Skipped(f"saved: {where}", f"TensorFlow cannot differentiate it; save it with {KEEP}")
            return
        for item in _compared(lab, where, loaded, blamed):
            yield _bypassed(lab, item) if isinstance(item, Finding) and not keep_rules and lab.custom else item


def _layer(lab: Lab, layer: Any, folder: str, blamed: set[str | None]) -> Iterator[Item]:
    weights = places_of(layer, lab.gradients.variables)
    if weights is None:
        yield Skipped("saved: a .keras file", "a variable of the layer is not tracked, so that no file holds it")
        return
    try:
        save_layer(layer, lab.values, folder)
    except Exception as error:
        if own_fault(error):
            raise
        hint = "give the layer a get_config that returns the arguments of its __init__"
        message = f"the layer cannot be saved as a .keras file: {first_line(error)}"
        yield seen_in(WAY, Finding("mode-unsupported", message, hint=hint))
        return
    save_values(lab.values, lab.upstream, folder)
    try:
        module = str(Path(lab.loaded.module.__file__ or "").resolve())
        job = Job(folder, lab.sources, False, module, lab.case.op, weights)
        yield from _compared(lab, "a .keras file", started().run(job), blamed)
    except Refused as refusal:
        finding = _refused("a .keras file", refusal)
        yield seen_in(WAY, replace(finding, hint="give the layer a get_config that returns what __init__ needs"))


def _compared(lab: Lab, where: str, loaded: tuple[list[Any], list[Any]], blamed: set[str | None]) -> Iterator[Item]:
    outputs, gradients = loaded
    slots = lab.layout.outputs.slots
    values = lab.layout.outputs.pack([o.astype(numpy_dtype(s.dtype)) for o, s in zip(outputs, slots, strict=True)])
    found = with_first_run(lab, lab.layout.inputs.project(gradients), values)
    yield from found.comparisons(lab, where, replace(WAY, device=lab.first_way.device))
    if found.values_differ:
        message = f"the forward value differs between {lab.first_way.label} and {where}"
        yield seen_in(WAY, Finding("value-mismatch", message, hint="let variables and tensors hold all of the state"))
        return
    gradient, base, odd = found.gradient, found.base, found.odd
    for slot, part in zip(lab.slots, lab.layout.inputs.ranges(), strict=True):
        if odd[part].any() and slot.name not in blamed:
            i, count = int(odd[part].argmax()), int(odd[part].sum())
            message = (
                f"the gradient of `{slot.name}` differs between {lab.first_way.label} and {where} at {count} of"
                f" {odd[part].size} elements, as {gradient[part][i]:.6g} from {base[part][i]:.6g}"
            )
            hint = "let variables and tensors hold all that grad_fn reads, no Python state"
            yield seen_in(WAY, Finding("mode-mismatch", message, hint=hint, wrt=slot.name))


def _bypassed(lab: Lab, finding: Finding) -> Finding:
    """Return what it means that a program without its rules gives another gradient."""
    if finding.code != "mode-mismatch":
        return finding
    again = replace(finding, code="rule-bypassed", hint=f"save the program with {KEEP}")
    return bypassed(lab, again)


def _refused(where: str, refusal: Refused) -> Finding:
    return Finding(
        "mode-unsupported",
        f"{where} cannot be differentiated in a fresh process: {first_line(refusal)}",
        hint="use TensorFlow ops: Python code is not saved with a program",
    )


def _cannot_save(lab: Lab, folder: str, said: str, error: BaseException) -> Finding:
    finding = Finding(
        "mode-unsupported",
        f"the op cannot be saved as {said}: {first_line(error)}",
        hint="use TensorFlow ops in forward and grad_fn, and variables for state",
    )
    plain = lab.gradients_of(lab.plain())
    every = [variable.variable for variable in lab.every_variable]
    try:
        save_program(plain, every, lab.values, folder, False)
    except Exception as again:
        if own_fault(again):
            raise
        message = f"TensorFlow itself cannot save what the op computes: {first_line(error)}"
        finding = softened(replace(finding, message=message))
    return seen_in(WAY, finding)
