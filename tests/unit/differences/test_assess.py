"""A right gradient is never called wrong, a wrong one is; kinks, jumps and edges get their label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gradcheck.differences.assess import Outcome, Tolerance, assess
from gradcheck.differences.bisection import directions_agree, suspects
from gradcheck.differences.directions import difference_along
from gradcheck.differences.ladder import Label
from gradcheck.differences.vector_function import Point
from gradcheck.numerics.random_streams import signed_uniform, stream

RNG = np.random.default_rng(7)

SMOOTH = {
    "sin": (np.sin, np.cos),
    "exp": (np.exp, np.exp),
    "cube": (lambda x: x**3, lambda x: 3 * x**2),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "reciprocal": (lambda x: 1 / (x * x + 1), lambda x: -2 * x / (x * x + 1) ** 2),
    "fast sine": (lambda x: np.sin(300 * x), lambda x: 300 * np.cos(300 * x)),
    "large": (lambda x: 1e8 * np.sin(x), lambda x: 1e8 * np.cos(x)),
    "tiny": (lambda x: 1e-8 * np.sin(x), lambda x: 1e-8 * np.cos(x)),
    "offset": (lambda x: 1e6 + np.sin(x), np.cos),
}


def point_of(f, x, low=-np.inf, high=np.inf):
    x = np.atleast_1d(np.asarray(x, float))

    def evaluate(rows):
        with np.errstate(all="ignore"):
            return f(rows)

    y = evaluate(x[None])[0]
    rng = np.random.default_rng(0)
    return Point(evaluate, x, y, signed_uniform(rng, y.size), np.full(x.size, low), np.full(x.size, high))


def outcome(f, x, gradient, **bounds):
    point = point_of(f, x, **bounds)
    return assess(point, point.cotangent * gradient, Tolerance(1e-5), np.random.default_rng(1))


@pytest.mark.parametrize("name", SMOOTH)
@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-3, 3).filter(lambda x: abs(x) > 1e-3), min_size=1, max_size=4))
def test_right_gradients_of_smooth_functions_are_never_wrong(name, xs):
    f, derivative = SMOOTH[name]
    assert not outcome(f, xs, derivative(np.array(xs))).wrong.any()


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("factor", [2.0, -1.0, 0.0, 1.01, 1.0001])
def test_wrong_factors_are_found_at_every_element(name, factor):
    f, derivative = SMOOTH[name]
    xs = np.array([0.3, -1.1, 0.7])
    assert outcome(f, xs, factor * derivative(xs)).wrong.all()


def test_any_slope_between_the_one_sided_ones_is_right_at_a_kink():
    for slope in (0.0, 0.5, 1.0):
        found = outcome(lambda x: np.maximum(x, 0), [0.0], slope)
        assert found.label[0] == Label.KINK
        assert found.outcome[0] == Outcome.AGREES
    assert outcome(lambda x: np.maximum(x, 0), [0.0], 1.1).wrong.all()


@pytest.mark.parametrize(
    ("f", "x", "label"),
    [
        (np.floor, 1.0, Label.JUMP),
        (np.sign, 0.0, Label.JUMP),
        (np.sqrt, 0.0, Label.DOMAIN),
        (np.log, -0.5, Label.NONFINITE),
        (np.cbrt, 0.0, Label.SINGULAR),
        (np.abs, 0.0, Label.KINK),
    ],
)
def test_points_without_a_derivative_get_their_label_and_no_blame(f, x, label):
    found = outcome(f, [x], 0.5)
    assert found.label[0] == label
    assert found.outcome[0] in (Outcome.UNDECIDED, Outcome.AGREES)


@settings(max_examples=60, deadline=None)
@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(1.3, 4), st.integers(0, 3))
@example(0.0, 5.046119146740005e-14, 2.0, 2)
@example(5e-324, 0.0, 2.0, 0)
def test_at_an_end_of_the_domain_the_slope_of_the_one_side_judges(a, b, power, seed):
    """A line and a power that begin at zero: the slope there is the line's."""
    found = outcome(lambda x: a * x + b * x**power + seed, [0.0], a, low=0.0)
    assert not found.wrong.any()
    assert outcome(lambda x: (a + 3) * x + b * x**power + seed, [0.0], a, low=0.0).outcome[0] != Outcome.AGREES


@pytest.mark.parametrize("power", [1.5, 2.0, 3.0])
def test_a_wrong_gradient_at_an_end_of_the_domain_is_blamed(power):
    found = outcome(lambda x: 2 * x + x**power, [0.0], 3.0, low=0.0)
    assert found.label[0] == Label.EDGE
    assert found.wrong.all()


@pytest.mark.parametrize("f", [np.sqrt, lambda x: x * np.log(x), lambda x: x**0.8, lambda x: np.sin(1 / x)])
def test_slopes_that_do_not_settle_at_an_end_of_the_domain_decide_nothing(f):
    def from_zero(x):
        with np.errstate(all="ignore"):
            return np.where(x == 0, 0.0, f(x))

    for gradient in (0.0, 5.0, 1e4):
        assert outcome(from_zero, [0.0], gradient, low=0.0).outcome[0] == Outcome.UNDECIDED


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.sign(x) * np.sqrt(np.abs(x)),
        np.cbrt,
        lambda x: np.where(x == 0, 0.0, x * np.log(np.abs(x) + (x == 0))),
    ],
)
def test_an_infinite_slope_inside_the_domain_is_singular_for_an_infinite_gradient_too(f):
    for gradient in (0.0, np.inf, -np.inf):
        found = outcome(f, [0.0, 1.3], np.array([gradient, 0.5]))
        assert found.label[0] == Label.SINGULAR
        assert found.outcome[0] == Outcome.UNDECIDED


def test_a_domain_is_never_left():
    seen = []

    def f(rows):
        seen.append((rows.min(), rows.max()))
        return np.sqrt(rows)

    found = outcome(f, [1e-3, 0.5], 0.5 / np.sqrt([1e-3, 0.5]), low=0.0, high=0.6)
    assert not found.wrong.any()
    assert min(low for low, _ in seen) >= 0.0
    assert max(high for _, high in seen) <= 0.6


def test_rounding_with_gradient_one_is_wrong_and_with_gradient_zero_right():
    assert outcome(np.round, [0.3, 1.2, -2.2], 1.0).wrong.all()
    assert not outcome(np.round, [0.3, 1.2, -2.2], 0.0).wrong.any()


def test_a_zero_gradient_near_an_extremum_is_not_passed_as_constant():
    x = np.array([1e-3])
    assert outcome(np.cos, x, -np.sin(x)).outcome[0] == Outcome.AGREES
    assert outcome(lambda x: np.cos(x), np.array([1e-3]), 0.0).outcome[0] != Outcome.AGREES


def test_one_wrong_element_among_ten_thousand_is_found_by_directions():
    x = np.random.default_rng(2).normal(size=10_000)
    point = point_of(np.tanh, x)
    gradient = point.cotangent * (1 - np.tanh(x) ** 2)
    rng = np.random.default_rng(3)
    assert directions_agree(point, gradient, rng)
    gradient[4321] *= 1.001
    assert suspects(point, gradient, rng).tolist() == [4321]


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_directional_bounds_hold(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=50)
    point = point_of(np.sin, x)
    direction = difference_along(point, signed_uniform(rng, 50))
    assert direction.agrees(point.cotangent * np.cos(x))
    assert not direction.agrees(point.cotangent * np.cos(x) * 1.001)


def test_random_streams_depend_on_their_names_only():
    first = stream(3, "input", "x").normal(size=4)
    stream(3, "input", "y").normal(size=100)
    assert np.array_equal(first, stream(3, "input", "x").normal(size=4))
    assert not np.array_equal(first, stream(4, "input", "x").normal(size=4))


def assessed_with_witness(f, x, gradient, witness, **more):
    """Return the assessment, and how many evaluations it took."""
    point, count = point_of(f, x), 0

    def counted(rows):
        nonlocal count
        count += len(rows)
        return f(rows)

    v = point.cotangent
    found = assess(
        replace(point, evaluate=counted), v * gradient, Tolerance(1e-5), np.random.default_rng(1), witness=v * witness,
        **more,
    )  # fmt: skip
    return found, count


def test_a_second_gradient_that_stage_one_confirms_spares_ladders():
    x = RNG.normal(size=200)
    found, count = assessed_with_witness(np.sin, x, 1.5 * np.cos(x), np.cos(x))
    assert found.wrong.all()
    assert count < 8 * x.size
    assert np.allclose(found.value, point_of(np.sin, x).cotangent * np.cos(x), rtol=1e-5)


def test_a_second_gradient_that_is_wrong_convicts_nothing():
    x = RNG.normal(size=40)
    found, _ = assessed_with_witness(np.sin, x, np.cos(x), 1.5 * np.cos(x))
    assert not found.wrong.any()


def test_a_second_gradient_says_nothing_at_a_kink():
    x = np.zeros(40)
    found, _ = assessed_with_witness(lambda x: np.maximum(x, 0), x, np.ones(40), np.full(40, 0.5))
    assert not found.wrong.any()
    assert (found.label == Label.KINK).all()


def test_what_no_ladder_is_left_for_is_undecided():
    x = RNG.normal(size=40)
    point = point_of(np.sin, x)
    found = assess(point, np.zeros(40), Tolerance(1e-5), np.random.default_rng(1), ladders=5)
    assert found.wrong.sum() == 5
    assert (found.label == Label.UNMEASURED).sum() == 35


@pytest.mark.parametrize("size", [1e12, 1e18, 1e25])
def test_a_period_that_is_shorter_than_every_step_decides_nothing(size):
    x = size * RNG.uniform(1, 2, 30)
    assert (outcome(np.sin, x, np.cos(x)).outcome == Outcome.UNDECIDED).all()


def test_a_period_that_some_steps_resolve_decides():
    x = 1e6 * RNG.uniform(1, 2, 30)
    assert not outcome(np.sin, x, np.cos(x)).wrong.any()
    assert outcome(np.sin, x, -np.cos(x)).wrong.all()
