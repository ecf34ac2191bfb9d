"""The op at other sizes: one row more, one row, an axis of twice the size; and what the bare forward gives there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.autodiff.inputs import Leaf
from gradcheck.autodiff.modes import as_tensor, pull_back, to_array
from gradcheck.autodiff.operation import Operation, State, floating
from gradcheck.autodiff.subject import Subject
from gradcheck.autodiff.tracing import GradientTape
from gradcheck.numerics.closeness import close, largest, wide
from gradcheck.numerics.directions import signed_uniform
from gradcheck.numerics.parts import parts_of

ONE_ROW_MORE = "one row more"
WIDEST = 100_000


@dataclass(frozen=True, slots=True)
class Pulled:
    """Hold outputs and gradients at a place."""

    outputs: tuple[Any, ...]
    gradients: tuple[Any, ...]

    @property
    def shapes(self) -> list[Any]:
        """Return the shapes of the outputs."""
        return [o.shape for o in self.outputs]

    @property
    def output_size(self) -> float:
        """Return the size of what is added up to one number and differentiated."""
        flat = [np.ravel(o) for o in self.outputs]
        return float(sum(np.abs(wide(o[part])).sum() for o in flat for part in parts_of(o.size)))


def pulled_at(subject: Subject, operation: Operation, values: Sequence[Any], state: State) -> Pulled | None:
    """Return outputs and gradients at a place, None if the operation fails there."""
    try:
        return pull(subject, operation, values, state)
    except Exception:
        return None


def pull(subject: Subject, operation: Operation, values: Sequence[Any], state: State) -> Pulled:
    """Return outputs and gradients of an operation at other leaves and variables; raises what it raises."""
    state.restore()
    tensors = [tf.constant(v) for v in values]
    with GradientTape() as tape:
        watched = [tensors[i] for i in subject.sources]
        tape.watch(watched)
        outputs = operation(tensors)
    results = floating(outputs)
    found = pull_back(tape, outputs, [*watched, *subject.gradients.variables], upstream_of(subject, results))
    return Pulled(tuple(to_array(o) for o in results), tuple(to_array(g) for g in found))


def upstream_of(subject: Subject, outputs: Sequence[Any]) -> list[Any]:
    """Return what outputs at other sizes are pulled by; drawn as arrays, for which TensorFlow needs no kernel."""
    rng = subject.rng("elsewhere")
    return [as_tensor(_like_output(output, rng)) for output in outputs]


def _like_output(output: Any, rng: np.random.Generator) -> Any:
    drawn = signed_uniform(rng, math.prod(output.shape)).reshape(output.shape)
    return drawn.astype(tf.as_dtype(output.dtype).as_numpy_dtype)


def one_row_more(subject: Subject) -> tuple[list[Any], Pulled] | None:
    """Return leaves with one row more and what the bare forward gives, None if it takes or uses no further row."""
    return subject.once(ONE_ROW_MORE, lambda: _one_row_more(subject, bare(subject)))  # type: ignore[no-any-return]


def bare(subject: Subject) -> Operation:
    """Return the forward whose autodiff is the reference."""
    other = subject.case.surrogate or subject.case.reference
    return subject.plain() if other is None else subject.function(other)


def _one_row_more(subject: Subject, plain: Operation) -> tuple[list[Any], Pulled] | None:
    for chosen in _alike(subject):
        values = list(subject.values)
        for i in chosen:
            values[i] = _with_row(values[i], subject.leaves[i])
        pulled = pulled_at(subject, plain, values, subject.gradients.state)
        if pulled is not None and all(_reaches(pulled, subject, i, 0, len(subject.values[i])) for i in chosen):
            return values, pulled
    return None


def one_row(subject: Subject, plain: Operation) -> tuple[list[Any], Pulled] | None:
    """Return the first row of the leaves, None if the op does not treat rows one by one.

    A single row broadcasts, so that a call may pass which makes no sense; where the outputs
    are those of the first row of all, it does make sense.
    """
    state = subject.gradients.state
    whole = pulled_at(subject, plain, subject.values, state)
    for chosen in _alike(subject):
        values = list(subject.values)
        if len(values[chosen[0]]) < 2:
            return None
        for i in chosen:
            values[i] = values[i][:1]
        one = pulled_at(subject, plain, values, state)
        if one is None or whole is None:
            continue
        if len(one.outputs) != len(whole.outputs):
            continue
        pairs = list(zip(one.outputs, whole.outputs, strict=True))
        if pairs and all(np.ndim(b) and a.shape == b[:1].shape and _near(a, b[:1]) for a, b in pairs):
            return values, one
    return None


def _near(a: Any, b: Any) -> bool:
    return close(a, b, 1e-2, 1e-3 * largest(b))


def _alike(subject: Subject) -> list[tuple[int, ...]]:
    """Return groups of leaves whose first axis may be the batch: all of its size, or those of the highest rank."""
    lead = next((np.shape(v)[0] for v, leaf in zip(subject.values, subject.leaves, strict=True)
                 if np.ndim(v) and leaf.differentiated), None)  # fmt: skip
    dense = [i for i, leaf in enumerate(subject.leaves)
             if leaf.indices is None and leaf.row_lengths is None and leaf.structure is None]  # fmt: skip
    same = [i for i in dense if np.ndim(subject.values[i]) and np.shape(subject.values[i])[0] == lead]
    if lead == 1 and len(same) > 1:
        # One row may be a batch of one, or something that broadcasts along it.
        return []
    rank = max((np.ndim(subject.values[i]) for i in same), default=0)
    groups = dict.fromkeys((tuple(same), tuple(i for i in same if np.ndim(subject.values[i]) == rank)))
    return [g for g in groups if any(subject.leaves[i].differentiated for i in g)]


def _with_row(value: Any, leaf: Leaf) -> Any:
    if not len(value):
        return np.zeros((1, *value.shape[1:]), value.dtype)
    return np.concatenate([value, _like(value, leaf, 0)[:1]])


def _like(value: Any, leaf: Leaf, axis: int) -> Any:
    """Return values near those at hand that are none of them: equal rows hide what mixes them up."""
    if not leaf.differentiated or value.dtype.kind not in "fcV":
        return value
    old = wide(value)
    if value.shape[axis] > 1:
        # Between two that are there, so that no domain is left and no tie is made.
        return (0.625 * old + 0.375 * np.roll(old, -1, axis)).astype(value.dtype)
    low, high = leaf.domain or (-np.inf, np.inf)
    return (0.8 * old if low <= 0 <= high else np.clip(1.1 * old, low, high)).astype(value.dtype)


def twice_along(subject: Subject, plain: Operation, axis: int) -> tuple[list[Any], Pulled] | None:
    """Return leaves of twice the size along an axis, None if the bare forward does not take or use them.

    Twice, because halves, heads and windows divide it too.
    """
    lead = next((i for i in subject.sources if np.ndim(subject.values[i]) > axis), None)
    if lead is None or subject.values[lead].shape[axis] < 2 or subject.layout.inputs.width > WIDEST:
        return None
    size, back = subject.values[lead].shape[axis], axis - np.ndim(subject.values[lead])
    if size in _numbers([subject.case.build or {}, subject.case.arguments]):
        return None
    dense = [i for i, leaf in enumerate(subject.leaves)
             if leaf.indices is None and leaf.row_lengths is None and leaf.structure is None]  # fmt: skip
    same = [i for i in dense if np.ndim(subject.values[i]) >= -back and subject.values[i].shape[back] == size]
    if lead not in dense:
        return None
    for chosen in dict.fromkeys((tuple(same), (lead,))):
        values = list(subject.values)
        for i in chosen:
            values[i] = np.concatenate([values[i], _like(values[i], subject.leaves[i], back)], axis=back)
        pulled = pulled_at(subject, plain, values, subject.gradients.state)
        if pulled is not None and all(_reaches(pulled, subject, i, back, size) for i in chosen):
            return values, pulled
    return None


def _numbers(given: Any) -> set[int]:
    """Return the numbers in arguments: an op that was told a size may rely on it."""
    return {int(item) for item in tf.nest.flatten(given) if isinstance(item, int | float) and float(item).is_integer()}


def _reaches(pulled: Pulled, subject: Subject, leaf: int, axis: int, start: int) -> bool:
    """Return whether what is new along an axis matters to the outputs; boxes of four numbers ignore a fifth."""
    if leaf not in subject.sources:
        return True
    gradient = pulled.gradients[subject.sources.index(leaf)]
    if gradient is None:
        return False
    new = np.moveaxis(wide(gradient), axis, 0)[start:]
    return bool(all(np.any(part != 0) for part in new))
