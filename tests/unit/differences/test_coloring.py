"""Inputs that do not meet in any output are moved together, each input by axes that reappear in the outputs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck.differences.assess import Tolerance, assess
from gradcheck.differences.coloring import MOST, Part, find_blocks, ranks
from gradcheck.differences.vector_function import Point

RNG = np.random.default_rng(11)
A, B = (8, 5), (5, 6)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def evaluated(function, shapes):
    """Return rows of points -> rows of outputs for a function of tensors, and the outputs' shapes."""
    ends = np.cumsum([0, *(int(np.prod(s)) for s in shapes)])

    def outputs(row):
        tensors = [row[i:j].reshape(s) for i, j, s in zip(ends, ends[1:], shapes, strict=False)]
        found = function(*tensors)
        return found if isinstance(found, tuple) else (found,)

    return lambda rows: np.stack([np.concatenate([np.ravel(o) for o in outputs(row)]) for row in rows]), outputs


def point_of(function, *shapes):
    evaluate, outputs = evaluated(function, shapes)
    x = RNG.normal(size=sum(int(np.prod(s)) for s in shapes))
    y = evaluate(x[None])[0]
    results = [Part(np.shape(o)) for o in outputs(x)]
    blocks = find_blocks(evaluate, x, y, np.abs(x), [Part(s) for s in shapes], results, RNG)
    no_bound = np.full(x.size, np.inf)
    return Point(evaluate, x, y, RNG.normal(size=y.size), -no_bound, no_bound, blocks=blocks)


def attention(q, k, v):
    return softmax(q @ np.swapaxes(k, -1, -2)) @ v


@pytest.mark.parametrize(
    ("function", "shapes", "evaluations"),
    [
        (np.sin, [(8, 5)], 1),
        (lambda x: np.tanh(x).reshape(20, 2), [(8, 5)], 1),
        (softmax, [(8, 5)], 5),
        (lambda x: x - x.mean(0), [(8, 5)], 8),
        (lambda x: np.cumsum(x, 1), [(8, 5)], 5),
        (lambda x: np.sin(x).T, [(8, 5)], 1),
        (lambda x: np.exp(np.swapaxes(x, 0, 2)) * 2, [(2, 3, 4)], 1),
        (lambda a, b: a @ b, [A, B], 5 + 5),
        (lambda x, w, b: np.tanh(x @ w + b), [A, B, (6,)], 5 + 5 + 6),
        (lambda a, b: np.outer(a, b), [(9,), (10,)], 1 + 1),
        (lambda x: np.diag(x), [(9,)], 1),
        (attention, [(3, 4, 5), (3, 4, 5), (3, 4, 6)], 5 + 20 + 4),
        (lambda x, w: (x * w, w**2), [(8, 9), (8, 9)], 1 + 1),
    ],
)
def test_an_axis_that_reappears_in_the_outputs_parts_an_input(function, shapes, evaluations):
    assert point_of(function, *shapes).cost() == evaluations


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.sort(x, axis=0),
        lambda x: x * np.sum(x * x),
        lambda x: x + 1e-9 * x.mean(0) + 1e-9 * x.mean(1, keepdims=True),
        lambda x: x + x.T,
        lambda x: x[::-1] * x,
        lambda x: np.sum(x),
        lambda x: np.maximum(x, x.max(0) - 1e-3),
    ],
)
def test_an_input_whose_elements_meet_is_not_parted_there(function):
    point = point_of(function, (6, 6))
    assert all(b.cost >= 6 for b in point.blocks)


def test_an_output_without_the_axis_parts_nothing():
    assert point_of(lambda x: (np.sin(x), np.sum(x)), (8, 5)).blocks == ()


def test_of_a_long_input_only_its_elements_are_looked_at():
    assert point_of(np.sin, (MOST + 1,)).cost() == 1
    assert point_of(lambda x: x - x.mean(0), (2, MOST)).blocks == ()


def test_a_complex_input_moves_both_its_parts():
    def evaluate(rows):
        z = rows[:, :12] + 1j * rows[:, 12:]
        w = z * z
        return np.concatenate([w.real, w.imag], axis=1)

    x = RNG.normal(size=24)
    part = Part((3, 4), reals=2)
    (blocks,) = find_blocks(evaluate, x, evaluate(x[None])[0], np.abs(x), [part], [part], RNG)
    assert blocks.cost == 2
    assert blocks.outputs[5].tolist() == [5, 17]


FUNCTIONS = [np.sin, softmax, lambda x: np.cumsum(np.sin(x), 0), lambda x: np.exp(x).T, lambda x: x * x.mean()]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(FUNCTIONS), st.lists(st.integers(1, 5), min_size=2, max_size=2), st.integers(0, 2**32 - 1))
def test_differences_are_those_of_single_steps(function, shape, seed):
    parted = point_of(function, tuple(shape))
    whole = Point(parted.evaluate, parted.x, parted.y, parted.cotangent, parted.low, parted.high)
    some = np.random.default_rng(seed).permutation(parted.x.size)[: max(1, parted.x.size // 2)]
    nothing, tolerance = np.zeros(parted.x.size), Tolerance(1e-5)
    found, single = (assess(p, nothing, tolerance, np.random.default_rng(seed), some) for p in (parted, whole))
    assert np.array_equal(found.outcome, single.outcome)
    assert np.allclose(found.value, single.value, rtol=1e-8, atol=1e-10)


def test_any_run_of_coordinates_shares_evaluations_among_blocks():
    point = point_of(softmax, (30, 40))
    (blocks, places), *rest = point.alike(np.arange(1200))
    assert not rest
    assert ranks(blocks.of(places[:90])).max() == 2


def test_coordinates_are_grouped_by_input():
    point = point_of(lambda x, w, b: x @ w + b, A, B, (6,))
    groups = list(point.alike(np.arange(75, -1, -1)))
    assert [None if b is None else b.part.start for b, _ in groups] == [0, 40, None]
    assert sorted(np.concatenate([p for _, p in groups])) == list(range(76))
