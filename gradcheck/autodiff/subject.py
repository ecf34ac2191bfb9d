"""One op at one point in one dtype, ready to be checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.autodiff import inputs as drawing
from gradcheck.autodiff.coordinates import Coordinates, Slot, make_slot
from gradcheck.autodiff.failures import Stopped, finding_from
from gradcheck.autodiff.inputs import Leaf
from gradcheck.autodiff.install import unwrapped
from gradcheck.autodiff.loading import Loaded
from gradcheck.autodiff.modes import EAGER, Gradients, Run, Way, to_array, ways
from gradcheck.autodiff.operation import (
    Operation,
    State,
    Variable,
    bypassed,
    differentiable,
    find_variables,
    floating_arrays,
)
from gradcheck.autodiff.probe import Probe
from gradcheck.autodiff.realm import Layout
from gradcheck.autodiff.survey import Survey, survey
from gradcheck.autodiff.target import TargetError, attribute, bind, signature_of
from gradcheck.autodiff.tracing import GradientTape
from gradcheck.numerics.directions import signed_uniform, stream
from gradcheck.numerics.ladder import Array
from gradcheck.results import Finding
from gradcheck.spec.model import Case

RANDOM_SEED = 1701


@dataclass(slots=True)
class Subject:
    """Hold the op at a point: tensors, variables, upstream, and how to run its gradient.

    `slots` are what is differentiated (leaves, then variables); `cotangent` is the packed
    upstream; `eager` the first eager run with it; `survey` what a trace of the op holds; `asked`
    the dtype that replaces the inputs' own, None if none does.
    """

    loaded: Loaded
    operation: Operation
    leaves: tuple[Leaf, ...]
    values: tuple[Any, ...]
    sources: tuple[int, ...]
    variables: tuple[Variable, ...]
    every_variable: tuple[Variable, ...]
    gradients: Gradients
    outputs: tuple[Any, ...]
    upstream: tuple[Any, ...]
    layout: Layout
    cotangent: Array
    ways: tuple[Way, ...]
    custom: bool
    dtype: str
    survey: Survey
    devices: tuple[str, ...]
    asked: str | None
    state_changed: tuple[str, ...] = ()
    eager: Run | None = None
    cache: dict[str, Any] = field(default_factory=dict)

    @property
    def case(self) -> Case:
        """Return the case."""
        return self.loaded.case

    @property
    def probe(self) -> Probe:
        """Return the probe that stands before tf.custom_gradient."""
        return self.loaded.probe

    @property
    def coarsest(self) -> str:
        """Return the dtype in which the op rounds most, which is a half one under a mixed precision policy."""
        return self.survey.coarsest(self.dtype)

    @property
    def rounds_to_half(self) -> bool:
        """Return whether the op rounds to half precision somewhere."""
        return self.coarsest in ("float16", "bfloat16")

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Return what is differentiated."""
        return self.layout.inputs.slots

    def rng(self, *names: str) -> np.random.Generator:
        """Return the random stream of a check."""
        return stream(self.case.seed, "check", *names)

    def vector(self) -> Array:
        """Return the point as a vector of coordinates."""
        values = [self.values[i] for i in self.sources]
        return self.layout.inputs.pack([*values, *(self.kept(v) for v in self.variables)])

    def kept(self, variable: Variable) -> Any:
        """Return the value a variable had before the first call."""
        state = self.gradients.state
        return next(v for kept, v in zip(state.variables, state.values, strict=True) if kept is variable.variable)

    def run(self, way: Way = EAGER, upstream: Any = None, values: Any = None, restore: bool = True) -> Run:
        """Run value and gradient; the point and upstream of the subject by default."""
        upstream = self.upstream if upstream is None else upstream
        return self.gradients.run(way, self.values if values is None else values, upstream, restore)

    def unpack_upstream(self, cotangent: Array) -> list[Any]:
        """Return upstream tensors in the outputs' own dtypes from a packed cotangent."""
        slots = self.layout.outputs.slots
        return [
            value.astype(tf.as_dtype(slot.dtype).as_numpy_dtype)
            for slot, value in zip(slots, self.layout.outputs.unpack(cotangent), strict=True)
        ]

    def note_changes(self) -> None:
        """Note which variables differ from what is put back before each call: those that the last call changed."""
        changed = _changed(self.gradients.state, self.every_variable)
        self.state_changed = tuple(dict.fromkeys([*self.state_changed, *changed]))

    def plain(self) -> Operation:
        """Return the op with every custom gradient bypassed."""
        return bypassed(self.operation, self.probe)

    def run_plain(self, way: Way = EAGER, upstream: Any = None, values: Any = None) -> Run | None:
        """Run the bare forward and TensorFlow's gradient of it; None if that cannot be done."""
        values = self.values if values is None else values
        try:
            return self.gradients_of(self.plain()).run(way, values, self.upstream if upstream is None else upstream)
        except Exception:
            return None

    def gradients_of(self, operation: Operation) -> Gradients:
        """Return how another operation is run where this one is; this one's own keeps what it traced."""
        g = self.gradients
        return g if operation is self.operation else Gradients(operation, g.sources, g.variables, g.state, g.seed)

    def function(self, name: str) -> Operation:
        """Return another function of the module, called on the same inputs."""
        try:
            op = attribute(self.loaded.module, name)
        except TargetError as error:
            raise Stopped(Finding("import-error", error.message, hint=error.hint)) from None
        names = list(self.case.inputs)
        signature = signature_of(op)
        accepted = set(signature.parameters) if signature else set()
        arguments = {k: v for k, v in self.case.arguments.items() if k in accepted}
        try:
            bound = bind(op, names, arguments)
        except TargetError:
            bound = bind(lambda *tensors: None, names, {})
        return Operation(op, bound, self.operation.leaves, self.operation.nesting)

    def drawn_anew(self, number: int) -> list[Leaf] | None:
        """Return another draw of the inputs, None if that cannot be drawn or has other shapes."""
        try:
            leaves, _ = drawing.draw(replace(self.case, seed=self.case.seed + 1 + number), self.asked, 0)
        except drawing.InputError:
            return None
        same = all(np.shape(leaf.values) == np.shape(own) for leaf, own in zip(leaves, self.values, strict=True))
        return leaves if same else None

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """Return a value that several checks share, made at the first call."""
        if name not in self.cache:
            self.cache[name] = make()
        return self.cache[name]


def prepare(
    loaded: Loaded,
    dtype: str | None,
    sample: int,
    devices: tuple[str, ...],
    values: tuple[Any, ...] | None = None,
) -> Subject:
    """Draw inputs, call the op once and find its outputs and variables.

    `values` are used instead of drawn ones, a leaf each.

    Raises Stopped if the op cannot be called or breaks its contract in the forward pass.
    """
    case, probe = loaded.case, loaded.probe
    operation, leaves = _operation(loaded, dtype, sample, values)
    values = tuple(leaf.values for leaf in leaves)
    probe.clear()
    before = State.of(v for v in loaded.creations.made)
    outputs, watched = _first_call(loaded, operation, values)
    every = find_variables(loaded.op, watched, loaded.creations.made, loaded.module)
    changed = tuple(_changed(before, every))
    before.restore()
    kept = before.and_of(v.variable for v in every)
    chosen = _chosen(case, every, watched, loaded)
    sources = tuple(i for i, leaf in enumerate(leaves) if leaf.differentiated)
    gradients = Gradients(operation, sources, tuple(v.variable for v in chosen), kept)
    seen = survey(gradients, values)
    used = tuple(v for v in every if seen.reads(v.variable) or v in chosen)
    if seen.random:
        gradients.seed = RANDOM_SEED + case.seed
        outputs = [to_array(t) for t in gradients.outputs(values)]
    layout = _layout(values, leaves, sources, chosen, outputs)
    upstream = _upstream(case, layout, sample)
    custom = probe.calls > 0 or unwrapped(loaded.op) is not None
    checked, notes = _ways(case, devices, seen, custom)
    return Subject(
        loaded,
        operation,
        leaves,
        values,
        sources,
        tuple(chosen),
        used,
        gradients,
        tuple(outputs),
        tuple(upstream),
        layout,
        layout.outputs.pack(upstream),
        checked,
        custom=custom,
        dtype=_dtype_of(leaves, chosen),
        survey=seen,
        devices=devices,
        asked=dtype,
        state_changed=changed,
        cache={"notes": [*loaded.notes, *notes]},
    )


def _ways(case: Case, devices: tuple[str, ...], seen: Survey, custom: bool) -> tuple[tuple[Way, ...], list[str]]:
    """Return the ways to check, without one in which TensorFlow itself may end the process, and what to note."""
    asked = ways(case.modes, case.tapes, devices)
    safe = [way for way in asked if not (way.mode == "xla" and way.tape == "outside")]
    if not (seen.unsized or (seen.lists and not custom)) or not safe or len(safe) == len(asked):
        return tuple(asked), []
    why = "the data decides the size of an output" if seen.unsized else "a loop in the op keeps tensors in a list"
    return tuple(safe), [
        f"xla, tape outside: not checked, because {why}: TensorFlow cannot take the gradient of such a function"
        " from outside, and may end the process when it tries"
    ]


def _operation(
    loaded: Loaded, dtype: str | None, sample: int, values: tuple[Any, ...] | None
) -> tuple[Operation, tuple[Leaf, ...]]:
    case = loaded.case
    try:
        leaves, nesting = drawing.draw(case, dtype, sample)
        if values is not None:
            leaves = [replace(leaf, values=value) for leaf, value in zip(leaves, values, strict=True)]
        bound = bind(loaded.op, list(case.inputs), case.arguments)
    except drawing.InputError as error:
        raise Stopped(Finding("op-error", str(error))) from None
    except TargetError as error:
        raise Stopped(Finding(error.code, error.message, hint=error.hint)) from None
    return Operation(loaded.op, bound, tuple(leaves), nesting), tuple(leaves)


def _first_call(loaded: Loaded, operation: Operation, values: tuple[Any, ...]) -> tuple[list[Any], list[Any]]:
    with loaded.creations.watch():
        try:
            with GradientTape() as tape:
                outputs = operation([tf.constant(v) for v in values])
        except (Exception, SystemExit) as error:
            raise Stopped(finding_from(error, "op-error", loaded.probe)) from error
    if not outputs:
        raise Stopped(Finding("op-error", "the op returned no tensor"))
    return [to_array(t) for t in outputs], list(tape.watched_variables())


def _changed(before: State, every: Sequence[Variable]) -> list[str]:
    names = []
    for variable, value in zip(before.variables, before.values, strict=True):
        now = variable.numpy()
        if not np.array_equal(now, value, equal_nan=now.dtype.kind in "fc"):
            names += [v.name for v in every if v.variable is variable]
    return names


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
    values: tuple[Any, ...],
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
    results = [make_slot(f"output[{i}]", o, tf.as_dtype(o.dtype).name) for i, o in enumerate(floating)]
    variables = tuple(v.variable for v in chosen)
    return Layout(values, sources, variables, Coordinates(tuple(packed)), Coordinates(tuple(results)))


def _upstream(case: Case, layout: Layout, sample: int) -> list[Any]:
    """Draw one upstream per output, of both signs, exact in the output's dtype; or load those of the case."""
    if case.upstream:
        return _given_upstream(case, layout)
    rng = stream(case.seed, "upstream", str(sample))
    drawn = layout.outputs.unpack(signed_uniform(rng, layout.outputs.width))
    return [
        value.astype(tf.as_dtype(slot.dtype).as_numpy_dtype)
        for slot, value in zip(layout.outputs.slots, drawn, strict=True)
    ]


def _given_upstream(case: Case, layout: Layout) -> list[Any]:
    slots = layout.outputs.slots
    try:
        values = [drawing.load_file(os.path.join(case.folder, file), "upstream") for file in case.upstream]
    except drawing.InputError as error:
        raise Stopped(Finding("op-error", str(error))) from None
    shapes = [list(value.shape) for value in values]
    if shapes != [list(slot.shape) for slot in slots]:
        listed = ", ".join(str(list(slot.shape)) for slot in slots)
        raise Stopped(Finding("op-error", f"`upstream` has shapes {shapes}, the op's floating outputs have {listed}"))
    return [value.astype(tf.as_dtype(slot.dtype).as_numpy_dtype) for slot, value in zip(slots, values, strict=True)]


def _dtype_of(leaves: tuple[Leaf, ...], chosen: list[Variable]) -> str:
    names = [leaf.dtype for leaf in leaves if leaf.floating] or [v.variable.dtype.name for v in chosen]
    return names[0] if names else "float32"
