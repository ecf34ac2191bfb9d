# SPDX-License-Identifier: Apache-2.0
"""Draw the inputs of an op, call it once, and set up the lab in which its gradient is measured."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

from gradcheck.backend.tensorflow import inputs as drawing
from gradcheck.backend.tensorflow.call_log import CallLog
from gradcheck.backend.tensorflow.failures import Stopped, finding_from, stopped_by_spec
from gradcheck.backend.tensorflow.graph_facts import GraphFacts, graph_facts
from gradcheck.backend.tensorflow.inputs import Leaf
from gradcheck.backend.tensorflow.install import unwrapped
from gradcheck.backend.tensorflow.loading import Loaded
from gradcheck.backend.tensorflow.operation import (
    Operation,
    State,
    Variable,
    differentiable,
    find_variables,
    floating_arrays,
)
from gradcheck.backend.tensorflow.runs import Gradients, as_tensor, dtype_name, numpy_dtype, to_array
from gradcheck.backend.tensorflow.target import TargetError, bind
from gradcheck.backend.tensorflow.tracing import GradientTape
from gradcheck.backend.tensorflow.vector_op import Layout
from gradcheck.measure.first_run import changed_since
from gradcheck.measure.lab import Lab
from gradcheck.numerics.arrays import AnyArray, Arrays
from gradcheck.numerics.packing import Coordinates, make_slot
from gradcheck.numerics.random_streams import signed_uniform, stream
from gradcheck.results import Finding, Skipped
from gradcheck.spec.model import Case
from gradcheck.verdict.tolerances import RANDOM_SEED
from gradcheck.ways import Way, ways


def prepare(
    loaded: Loaded,
    dtype: str | None,
    sample: int,
    devices: tuple[str, ...],
    values: tuple[AnyArray, ...] | None = None,
) -> Lab:
    """Draw inputs, call the op once and find its outputs and variables.

    `values` are used instead of drawn ones, a leaf each.

    Raises Stopped if the op cannot be called or breaks its contract in the forward pass.
    """
    case = loaded.case
    operation, leaves = _operation(loaded, dtype, sample, values)
    values = tuple(leaf.values for leaf in leaves)
    first = _first(loaded, operation, values)
    sources = tuple(i for i, leaf in enumerate(leaves) if leaf.differentiated)
    gradients = Gradients(operation, sources, tuple(v.variable for v in first.chosen), first.kept)
    seen, outputs = graph_facts(gradients, values, loaded.recorder), first.outputs
    if seen.random:
        gradients.seed = RANDOM_SEED + case.seed
        outputs = [to_array(t) for t in gradients.outputs(values)]
    layout = _layout(values, leaves, sources, first.chosen, outputs)
    upstream = _upstream(case, layout, sample)
    custom = bool(loaded.recorder.called) or loaded.recorder.overrides or unwrapped(loaded.op) is not None
    checked, left_out = _ways(case, devices, seen, custom)
    return Lab(
        loaded=loaded,
        operation=operation,
        leaves=leaves,
        values=values,
        sources=sources,
        variables=tuple(first.chosen),
        every_variable=tuple(v for v in first.every if seen.reads(v.variable) or v in first.chosen),
        gradients=gradients,
        outputs=tuple(outputs),
        upstream=tuple(upstream),
        layout=layout,
        cotangent=layout.outputs.pack(upstream),
        ways=checked,
        custom=custom,
        dtype=_dtype_of(leaves, first.chosen),
        facts=seen,
        devices=devices,
        asked=dtype,
        changed_by_call=first.changed,
        left_out=left_out,
    )


@dataclass(frozen=True, slots=True)
class _First:
    """Hold what the first call shows: outputs, variables (all, and those to differentiate), values, what it changed."""

    outputs: list[Any]
    every: list[Variable]
    chosen: list[Variable]
    kept: State
    changed: tuple[str, ...]


def _first(loaded: Loaded, operation: Operation, values: tuple[AnyArray, ...]) -> _First:
    loaded.recorder.clear()
    before = State.of(v for v in loaded.creations.made)
    outputs, watched = _first_call(loaded, operation, values)
    every = find_variables(loaded.op, watched, loaded.creations.made, loaded.module)
    changed = changed_since(before, every)
    before.restore()
    chosen = _chosen(loaded.case, every, watched, loaded)
    loaded.recorder.calls = CallLog(tuple(v.variable for v in every))
    return _First(outputs, every, chosen, before.and_of(v.variable for v in every), changed)


def prepare_at(lab: Lab, values: Arrays) -> Lab:
    """Return the op of a lab set up anew at other leaves; raises Stopped if it cannot be called with them."""
    again = prepare(lab.loaded, lab.asked, 0, lab.devices, values=tuple(values))
    again.show = lab.show
    return again


def _ways(
    case: Case, devices: tuple[str, ...], seen: GraphFacts, custom: bool
) -> tuple[tuple[Way, ...], tuple[Skipped, ...]]:
    """Return the ways to check, and those left out because TensorFlow itself may end the process in them."""
    asked = ways(case.modes, case.tapes, devices)
    safe = [way for way in asked if not (way.mode == "xla" and way.tape == "outside")]
    if not (seen.unsized or (seen.lists and not custom)) or not safe or len(safe) == len(asked):
        return tuple(asked), ()
    why = "the data decides the size of an output" if seen.unsized else "a loop in the op keeps tensors in a list"
    reason = (
        f"{why}: TensorFlow cannot take the gradient of such a function from outside, and may end the process"
        " when it tries"
    )
    return tuple(safe), (Skipped("modes: xla, tape outside", reason),)


def _operation(
    loaded: Loaded, dtype: str | None, sample: int, values: tuple[AnyArray, ...] | None
) -> tuple[Operation, tuple[Leaf, ...]]:
    case = loaded.case
    try:
        leaves, nesting = drawing.draw(case, dtype, sample)
        if values is not None:
            leaves = [replace(leaf, values=value) for leaf, value in zip(leaves, values, strict=True)]
        bound = bind(loaded.op, list(case.inputs), case.arguments)
    except drawing.InputError as error:
        raise stopped_by_spec(case, "op-error", str(error)) from None
    except TargetError as error:
        raise stopped_by_spec(case, error.code, error.message, error.hint) from None
    return Operation(loaded.op, bound, tuple(leaves), nesting, loaded.recorder.end_if_copy), tuple(leaves)


def _first_call(loaded: Loaded, operation: Operation, values: tuple[AnyArray, ...]) -> tuple[list[Any], list[Any]]:
    with loaded.creations.watch():
        try:
            with GradientTape() as tape:
                outputs = operation([as_tensor(v) for v in values])
        except (Exception, SystemExit) as error:
            raise Stopped(finding_from(error, "op-error", loaded.recorder)) from error
    if not outputs:
        raise Stopped(Finding("op-error", "the op returned no tensor"))
    return [to_array(t) for t in outputs], list(tape.watched_variables())


def _chosen(case: Case, every: list[Variable], watched: list[Any], loaded: Loaded) -> list[Variable]:
    """Return the variables to differentiate: those asked for, by default the trainable ones in use."""
    if case.variables == "none":
        return []
    floating = [v for v in every if differentiable(v.variable)]
    if case.variables != "all":
        names = {v.name for v in floating}
        unknown = [n for n in case.variables if n not in names]
        if unknown:
            listed = ", ".join(sorted(names)) or "none"
            raise Stopped(Finding("op-error", f"the op has no variable `{unknown[0]}` (it has: {listed})"))
        return [v for v in floating if v.name in case.variables]
    used = {v.ref() for v in watched}
    return [v for v in floating if v.variable.ref() in used and v.variable.trainable]


def _layout(
    values: tuple[AnyArray, ...],
    leaves: tuple[Leaf, ...],
    sources: tuple[int, ...],
    chosen: list[Variable],
    outputs: list[Any],
) -> Layout:
    packed = [
        make_slot(leaves[i].name, values[i], leaves[i].dtype, leaves[i].structure, leaves[i].domain) for i in sources
    ]
    packed += [make_slot(v.name, v.variable.numpy(), v.variable.dtype.name) for v in chosen]
    floating = floating_arrays(outputs)
    results = [make_slot(f"output[{i}]", o, dtype_name(o)) for i, o in enumerate(floating)]
    variables = tuple(v.variable for v in chosen)
    return Layout(values, sources, variables, Coordinates(tuple(packed)), Coordinates(tuple(results)))


def _upstream(case: Case, layout: Layout, sample: int) -> list[Any]:
    """Draw one upstream per output, of both signs, exact in the output's dtype; or load those of the case."""
    if case.upstream:
        return _given_upstream(case, layout)
    rng = stream(case.seed, "upstream", str(sample))
    drawn = layout.outputs.unpack(signed_uniform(rng, layout.outputs.width))
    return [value.astype(numpy_dtype(slot.dtype)) for slot, value in zip(layout.outputs.slots, drawn, strict=True)]


def _given_upstream(case: Case, layout: Layout) -> list[Any]:
    slots = layout.outputs.slots
    try:
        values = [drawing.load_file(os.path.join(case.folder, file), "upstream") for file in case.upstream]
    except drawing.InputError as error:
        raise stopped_by_spec(case, "op-error", str(error)) from None
    if [value.shape for value in values] != [slot.shape for slot in slots]:
        given, wanted = (", ".join(str(list(v.shape)) for v in some) for some in (values, slots))
        message = f"`upstream` has arrays of shape {given}, the op's floating outputs have {wanted}"
        raise stopped_by_spec(case, "op-error", message)
    return [value.astype(numpy_dtype(slot.dtype)) for slot, value in zip(slots, values, strict=True)]


def _dtype_of(leaves: tuple[Leaf, ...], chosen: list[Variable]) -> str:
    names = [leaf.dtype for leaf in leaves if leaf.floating] or [v.variable.dtype.name for v in chosen]
    return names[0] if names else "float32"
