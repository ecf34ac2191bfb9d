# SPDX-License-Identifier: Apache-2.0
"""One op at one sample in one dtype: how its gradient is run, and what is measured of it once for all checks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.graph_facts import GraphFacts, graph_facts
from gradcheck.backend.tensorflow.inputs import Leaf
from gradcheck.backend.tensorflow.loading import Loaded, another_function
from gradcheck.backend.tensorflow.operation import Operation, Variable, bypassed
from gradcheck.backend.tensorflow.recorder import Recorder
from gradcheck.backend.tensorflow.rule_contract import GradientNote
from gradcheck.backend.tensorflow.runs import Gradients, Run, numpy_dtype
from gradcheck.backend.tensorflow.vector_op import Layout, VectorOp
from gradcheck.differences.vector_function import Point
from gradcheck.measure.budget import Coverage, coverage_of
from gradcheck.measure.dissected import Draw, dissected, with_held
from gradcheck.measure.first_run import FirstRun, first_run, redraws
from gradcheck.measure.gradients import (
    autodiff_at,
    exact_of,
    gradient_at,
    measured_point,
    other_precision,
    unrounded_at,
)
from gradcheck.measure.measurement import Measurement, measurements_with
from gradcheck.measure.noise import Noise, growth_of, noise_at
from gradcheck.measure.other_sizes import one_row_more
from gradcheck.measure.own_points import drawn_anew, movable_of, parameters_of
from gradcheck.measure.precision import Precision, choose, exact_constants
from gradcheck.measure.pulled import Pulled
from gradcheck.measure.rounding import Rounding, rounding_of
from gradcheck.measure.steering import Steering, steering_of
from gradcheck.measure.switched import Switched, switched
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.packing import Slot
from gradcheck.numerics.random_streams import stream
from gradcheck.results import Skipped
from gradcheck.spec.model import Case
from gradcheck.verdict.tolerances import SHOWN
from gradcheck.ways import Way

if TYPE_CHECKING:
    from gradcheck.measure.exact import ExactSample


@dataclass
class Lab:
    """Hold the op at a sample: tensors, variables, upstream, and what was measured there.

    `slots` are what is differentiated; `cotangent` is the packed upstream; `asked` replaces the inputs' own dtype.
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
    facts: GraphFacts
    devices: tuple[str, ...]
    asked: str | None
    changed_by_call: tuple[str, ...] = ()
    show: int = SHOWN
    left_out: tuple[Skipped, ...] = ()

    @property
    def case(self) -> Case:
        """Return the case."""
        return self.loaded.case

    @property
    def recorder(self) -> Recorder:
        """Return the recorder that stands in the place of tf.custom_gradient."""
        return self.loaded.recorder

    @property
    def coarsest(self) -> str:
        """Return the dtype in which the op rounds most: a half one under a mixed precision policy."""
        return self.facts.coarsest(self.dtype)

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
        return self.layout.inputs.pack([*(self.values[i] for i in self.sources), *map(self.kept, self.variables)])

    def kept(self, variable: Variable) -> Any:
        """Return the value a variable had before the first call."""
        state = self.gradients.state
        return next(v for kept, v in zip(state.variables, state.values, strict=True) if kept is variable.variable)

    def run(self, way: Way | None = None, upstream: Any = None, values: Any = None, restore: bool = True) -> Run:
        """Run value and gradient; the point and upstream of the lab by default."""
        way = way or self.first_way
        upstream = self.upstream if upstream is None else upstream
        return self.gradients.run(way, self.values if values is None else values, upstream, restore)

    def unpack_upstream(self, cotangent: Array) -> list[Any]:
        """Return upstream tensors in the outputs' own dtypes from a packed cotangent."""
        slots = self.layout.outputs.slots
        return [
            value.astype(numpy_dtype(slot.dtype))
            for slot, value in zip(slots, self.layout.outputs.unpack(cotangent), strict=True)
        ]

    def plain(self) -> Operation:
        """Return the op with every custom gradient bypassed."""
        return bypassed(self.operation, self.recorder)

    def run_plain(self, way: Way | None = None, upstream: Any = None, values: Any = None) -> Run | None:
        """Run the bare forward and TensorFlow's gradient of it; None if that cannot be done."""
        values = self.values if values is None else values
        upstream = self.upstream if upstream is None else upstream
        return refused(lambda: self.gradients_of(self.plain()).run(way or self.first_way, values, upstream))

    def gradients_of(self, operation: Operation) -> Gradients:
        """Return how another operation is run where this one is; this one's own keeps what it traced."""
        g = self.gradients
        return g if operation is self.operation else Gradients(operation, g.sources, g.variables, g.state, g.seed)

    def function(self, name: str) -> Operation:
        """Return another function of the module, called on the same inputs."""
        return another_function(self.loaded, self.operation, name)

    def drawn_anew(self, number: int) -> list[Leaf] | None:
        """Return another draw of the inputs, None if that cannot be drawn or has other shapes."""
        return drawn_anew(self, number)

    @property
    def first_way(self) -> Way:
        """Return the way with which the others are compared."""
        return self.ways[0]

    @property
    def random(self) -> bool:
        """Return whether the op draws random numbers, which TensorFlow's seed fixes for every run."""
        return self.gradients.seed is not None

    @cached_property
    def _first(self) -> FirstRun:
        return first_run(self)

    @property
    def first(self) -> Run:
        """Return the first run of the gradient, in the first way.

        Raises Stopped with `gradient-error`, `nondeterministic`, or the code of a broken contract.
        """
        return self._first.run

    @property
    def gradient_notes(self) -> tuple[GradientNote, ...]:
        """Return what every grad_fn returned in the first run."""
        return self._first.notes

    @property
    def called(self) -> tuple[str, ...]:
        """Return the qualified names of the functions under tf.custom_gradient that were called in the first run."""
        return self._first.called

    @property
    def bypassed(self) -> tuple[str, ...]:
        """Return the functions under tf.custom_gradient that were called in the first run, when no grad_fn was."""
        return self._first.bypassed

    @property
    def iterates(self) -> bool:
        """Return whether a loop in the op ends when floating numbers say so."""
        return self.facts.iterates

    @cached_property
    def redraws(self) -> bool:
        """Return whether the gradient draws more random numbers than the forward: others than the forward's."""
        return redraws(self)

    @cached_property
    def growth(self) -> float:
        """Return how many times as large, relative to all outputs, a change of the inputs' last digit comes out."""
        return growth_of(self)

    @property
    def state_changed(self) -> tuple[str, ...]:
        """Return the variables that the op changes."""
        # A layer makes its variables at its first call, so that only a later one shows that it changes them.
        return tuple(dict.fromkeys([*self.changed_by_call, *self._first.changed]))

    def gradient_near(self, point: Point) -> Array | None:
        """Return the gradient under test at a point, None if the op refuses it."""
        return refused(lambda: self.precision.op.gradient(point.x, point.cotangent))

    def autodiff(self, point: Point) -> Array | None:
        """Return the gradient of the bare forward (or surrogate, or reference) at a point, None if there is none."""
        return autodiff_at(self, point)

    def unrounded(self, point: Point) -> tuple[Array, Array | None] | None:
        """Return gradient and autodiff with constants that float32 does not round, None if none are rounded here."""
        return unrounded_at(self, point)

    @cached_property
    def precision(self) -> Precision:
        """Return the op in the widest precision."""
        return choose(self, self.operation, "op")

    @cached_property
    def gradient(self) -> Array:
        """Return the gradient under test at the sample in the widest precision; Stopped if it raises."""
        known = self.precision.gradient
        return gradient_at(self, self.precision.point) if known is None else known

    @cached_property
    def other(self) -> Precision | None:
        """Return the surrogate or reference function in its widest precision, None if the case has none."""
        return other_precision(self)

    @cached_property
    def exact_constants(self) -> VectorOp | None:
        """Return the op with constants that are not rounded to float32, None if it refuses float64."""
        return exact_constants(self)

    @cached_property
    def surrogate_stops(self) -> bool:
        """Return whether the surrogate holds tf.stop_gradient: then its autodiff is what is meant, not its slope."""
        name = self.case.surrogate
        return name is not None and graph_facts(self.gradients_of(self.function(name)), self.values).stops

    @cached_property
    def noise(self) -> Noise:
        """Return how far the op's results move at the sample when its inputs move by their last digit."""
        return noise_at(self, self.values)

    @cached_property
    def rounding(self) -> Rounding:
        """Return what rounding in the op's own dtype may do to gradient and value at the sample."""
        return rounding_of(self)

    @cached_property
    def coverage(self) -> Coverage:
        """Return how much of the gradient is differenced."""
        return coverage_of(self.case.coverage, measured_point(self), self.case.timeout)

    @cached_property
    def measurements(self) -> list[Measurement]:
        """Return one measurement per differentiated input and variable, at the sample."""
        return measurements_with(self, self.cotangent, "sample")

    @cached_property
    def parameters(self) -> NDArray[np.int64]:
        """Return the coordinates of single numbers that are given, not drawn: their sign has a meaning."""
        return parameters_of(self)

    @cached_property
    def one_row_more(self) -> tuple[list[Any], Pulled] | None:
        """Return leaves with one row more and what the bare forward gives, None if it takes or uses no further row."""
        return one_row_more(self, self.bare)

    def forget_row(self) -> None:
        """Give back the memory of the further row: of a large input few gradients fit beside each other."""
        self.__dict__.pop("one_row_more", None)

    @cached_property
    def dissected(self) -> tuple[Draw, Draw] | None:
        """Return the bare forward taken apart at two points, None if that cannot be done."""
        return dissected(self)

    @cached_property
    def dissected_held(self) -> tuple[Draw, Draw] | None:
        """Return the same with values held through which no gradient comes, None if there are none."""
        return with_held(self)

    @cached_property
    def switched(self) -> Switched | None:
        """Return the bare forward with switches on the rules of its lines, None if that cannot be done."""
        return switched(self)

    @cached_property
    def steering(self) -> Steering | None:
        """Return the conditions of the traced gradient, None if it cannot be traced or followed."""
        return steering_of(self)

    @cached_property
    def exact(self) -> ExactSample | None:
        """Return what exact arithmetic says at the sample, None if the case does not ask for it."""
        return exact_of(self)

    @property
    def proved(self) -> bool:
        """Return whether exact arithmetic finds the gradient at the sample identical to the derivative."""
        return self.exact is not None and self.exact.is_proof

    @cached_property
    def bare(self) -> Operation:
        """Return the forward whose autodiff is the reference."""
        other = self.case.surrogate or self.case.reference
        return self.function(other) if other else self.plain()

    @cached_property
    def movable(self) -> frozenset[Any]:
        """Return references to the variables that may have other values: those that the op and its surrogate read."""
        return movable_of(self)

    @property
    def known_measurements(self) -> list[Measurement]:
        """Return the measurements at the sample if they were taken, nothing if not."""
        return self.measurements if "measurements" in self.__dict__ else []

    @property
    def known_run(self) -> Run | None:
        """Return the first run if there was one."""
        return self.first if "_first" in self.__dict__ else None

    @property
    def known_kinds(self) -> tuple[str, str]:
        """Return how much was differenced, and the widest precision; nothing for what was not chosen."""
        kind = self.coverage.kind if "coverage" in self.__dict__ else ""
        return kind, self.precision.op.name if "precision" in self.__dict__ else ""

    @property
    def may_repeat(self) -> bool:
        """Return whether every element may be measured again; yes where nothing had to be differenced."""
        return self.coverage.repeated if "coverage" in self.__dict__ else True
