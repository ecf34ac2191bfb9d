"""A lab whose op is four lines of NumPy: a forward, the gradient under test, and the right one as autodiff.

Nothing of TensorFlow is run: values and gradients come from the functions that are given, in the dtype of the inputs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace

import numpy as np

from gradcheck.backend.tensorflow.graph_facts import GraphFacts
from gradcheck.backend.tensorflow.inputs import Leaf
from gradcheck.backend.tensorflow.op_by_op import CannotFollow
from gradcheck.backend.tensorflow.recorder import Recorder
from gradcheck.backend.tensorflow.runs import Run
from gradcheck.backend.tensorflow.vector_op import Layout
from gradcheck.differences.vector_function import Point
from gradcheck.measure.first_run import FirstRun
from gradcheck.measure.lab import Lab
from gradcheck.measure.precision import Precision
from gradcheck.numerics.packing import Coordinates, make_slot
from gradcheck.spec.model import Case, Input
from gradcheck.ways import ways


class State:
    """Hold no variables."""

    variables = values = ()

    def restore(self):
        """Do nothing: there is nothing to put back."""


def no_graph(*_):
    """Refuse to be traced."""
    raise CannotFollow("there is no graph")


@dataclass
class NumpyGradients:
    """Run a forward and a vjp; `in_way` may give another vjp by the mode, `at` counts the runs."""

    forward: object
    vjp: object
    in_way: dict = field(default_factory=dict)
    operation: object = no_graph
    sources: tuple = ()
    variables: tuple = ()
    seed: int | None = None
    state: State = field(default_factory=State)

    traced_gradient = traced_forward = staticmethod(no_graph)

    def run(self, way, values, upstream, restore=True):
        """Return outputs and gradients at some values."""
        outputs = _listed(self.forward(*values))
        vjp = self.in_way.get(way.mode, self.vjp)
        found = _listed(vjp(*values, *upstream))
        gradients = tuple(None if g is None else np.asarray(g, v.dtype) for g, v in zip(found, values, strict=True))
        return Run(tuple(np.asarray(o, values[0].dtype) for o in outputs), gradients, frozenset())


@dataclass
class NumpyOp:
    """Evaluate a forward and its gradients on vectors, in float64."""

    layout: Layout
    forward: object
    vjp: object
    true: object
    name: str = "float64"
    wide: bool = True
    roundoff: float = 2.0**-53
    constants_roundoff: float = 0.0
    halves: tuple = ()
    constants: tuple = ()

    def value(self, row):
        """Return the packed outputs at a point."""
        with np.errstate(all="ignore"):
            return self.layout.outputs.pack(_listed(self.forward(*self.layout.inputs.unpack(row))))

    def evaluate(self, rows):
        """Return the packed outputs at points."""
        return np.stack([self.value(row) for row in rows])

    def gradient(self, vector, cotangent):
        """Return the gradient under test."""
        return self._pull(self.vjp, vector, cotangent)

    def autodiff_gradient(self, vector, cotangent):
        """Return the right gradient, None if there is none."""
        return None if self.true is None else self._pull(self.true, vector, cotangent)

    def all_double(self):
        """Return True: nothing is rounded to fewer digits."""
        return True

    def _pull(self, vjp, vector, cotangent):
        with np.errstate(all="ignore"):
            values = self.layout.inputs.unpack(vector)
            found = _listed(vjp(*values, *self.layout.outputs.unpack(cotangent)))
        zeros = [
            np.zeros_like(v) if g is None else np.broadcast_to(g, v.shape) for g, v in zip(found, values, strict=True)
        ]
        return self.layout.inputs.project(zeros)


class NumpyLab(Lab):
    """Be a lab without a graph: what would be read from one is given."""

    op: NumpyOp

    @cached_property
    def _first(self):
        return FirstRun(self.run(), (), (), (), ())

    @cached_property
    def precision(self):
        """Return the op in float64."""
        x, low_high = self.vector(), self.layout.inputs.bounds()
        y = self.op.value(x)
        groups = np.concatenate([np.full(s.width, i) for i, s in enumerate(self.slots)])
        point = Point(self.op.evaluate, x, y, self.cotangent, *low_high, groups=groups)
        return Precision(self.op, point, True, np.isfinite(y))

    def run_plain(self, way=None, upstream=None, values=None):
        """Return outputs and the right gradients."""
        plain = NumpyGradients(self.op.forward, self.op.true)
        return plain.run(self.first_way, self.values if values is None else values, upstream or self.upstream)

    def plain(self):
        """Return the operation itself."""
        return self.operation

    def gradients_of(self, operation):
        """Return the same gradients: there is one op."""
        return self.gradients

    other = dissected = switched = steering = exact = None
    redraws = surrogate_stops = False

    def unrounded(self, point):
        """Return None: no constant is rounded."""


def lab_of(forward, vjp, true, *inputs, dtype="float32", in_way=None, **options):
    """Return the lab of an op at some inputs; `true` is its right vjp, `in_way` other ones by mode."""
    values = tuple(np.asarray(value, dtype) for value in inputs)
    names = [f"x{i}" for i in range(len(values))] if len(values) > 1 else ["x"]
    outputs = [np.asarray(o, dtype) for o in _listed(forward(*values))]
    upstream = tuple(np.asarray(np.random.default_rng(7).normal(size=o.shape), dtype) for o in outputs)
    slots = tuple(make_slot(name, value, dtype) for name, value in zip(names, values, strict=True))
    out_slots = tuple(make_slot(f"output[{i}]", o, dtype) for i, o in enumerate(outputs))
    layout = Layout(values, tuple(range(len(values))), (), Coordinates(slots), Coordinates(out_slots))
    inputs = {name: Input(name, value.shape, dtype) for name, value in zip(names, values, strict=True)}
    case = Case("spec.yaml::op", "op", "spec.yaml", ".", 1, "ops.py", "op", inputs, **options)
    recorder = Recorder()
    lab = NumpyLab(
        loaded=SimpleNamespace(case=case, recorder=recorder, module=None, op=forward),
        operation=no_graph,
        leaves=tuple(Leaf(name, value, dtype, True) for name, value in zip(names, values, strict=True)),
        values=values,
        sources=layout.sources,
        variables=(),
        every_variable=(),
        gradients=NumpyGradients(forward, vjp, in_way or {}),
        outputs=tuple(outputs),
        upstream=upstream,
        layout=layout,
        cotangent=layout.outputs.pack(upstream),
        ways=tuple(ways(case.modes, case.tapes, ("cpu:0",))),
        custom=True,
        dtype=dtype,
        facts=GraphFacts(False, False, ()),
        devices=("cpu:0",),
        asked=None,
    )
    lab.op = NumpyOp(layout, forward, vjp, true)
    return lab


def found_by(check, lab):
    """Return the labels of what a check finds, and None if it does not apply."""
    from gradcheck.results import Finding

    if check.reason_to_skip(lab, []) is not None:
        return None
    return [
        f"{item.code}/{item.cause}" if item.cause else item.code
        for item in check.ask(lab, [])
        if isinstance(item, Finding)
    ]


def _listed(found):
    return list(found) if isinstance(found, (tuple, list)) else [found]
