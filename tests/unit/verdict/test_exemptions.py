"""An exemption covers the elements that it has a reason for, and no others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gradcheck.differences.assess import Outcome, Tolerance, assess
from gradcheck.differences.ladder import Label
from gradcheck.differences.vector_function import Point
from gradcheck.verdict.discrepancy import Discrepancy
from gradcheck.verdict.exemptions import EXEMPTIONS, Rule, judge, rounded_constants


class ArrayOp:
    """An elementwise op in NumPy: its value, its rule and the slope that autodiff gives."""

    rounds_to_half = False
    proved = False
    iterates = False
    steering = None
    growth = 1.0

    def __init__(self, value, rule, autodiff, exact=None, exact_autodiff=None):
        self.value, self.rule, self.slope = value, rule, autodiff
        self.exact, self.exact_autodiff = exact, exact_autodiff

    def gradient_near(self, point):
        return point.cotangent * self.rule(point.x)

    def autodiff(self, point):
        return None if self.slope is None else point.cotangent * self.slope(point.x)

    def unrounded(self, point):
        if self.exact is None:
            return None
        autodiff = self.exact_autodiff and point.cotangent * self.exact_autodiff(point.x)
        return point.cotangent * self.exact(point.x), autodiff

    def rng(self, *names):
        return np.random.default_rng(len("".join(names)))


def accuse(op, x, sampled=True):
    x = np.asarray(x, float)
    upstream = np.linspace(0.5, 1.5, x.size)
    infinite = np.full(x.size, np.inf)
    point = Point(lambda rows: np.stack([op.value(row) for row in rows]), x, op.value(x), upstream, -infinite, infinite)
    found = op.gradient_near(point)
    told = assess(point, found, Tolerance(1e-5), np.random.default_rng(0))
    wrong = told.outcome == Outcome.WRONG
    return Discrepancy(point, np.arange(x.size), found, told.value, wrong, told, op.autodiff(point), sampled)


def reasons(verdict):
    return [exemption.reason for exemption in verdict.exemptions]


def test_a_wrong_gradient_stays_blamed():
    op = ArrayOp(np.sin, lambda x: 2 * np.cos(x), np.cos)
    accusation = accuse(op, [0.1, 0.7, -1.2])
    assert accusation.elements.all()
    assert judge(accusation, op).blamed.all()


def test_a_wrong_element_beside_an_exempt_one_stays_blamed():
    """The median of three equal numbers: each alone shows no slope; the last element has a wrong factor."""

    def median_and_square(x):
        return np.array([np.median(x[:3]), x[3] ** 2])

    def slopes(x):
        last = np.zeros(4)
        last[np.argsort(x[:3], kind="stable")[1]] = 1.0
        return last + np.array([0, 0, 0, 2 * x[3]])

    op = ArrayOp(median_and_square, lambda x: np.array([1 / 3, 1 / 3, 1 / 3, 3 * x[3]]), slopes)
    x, upstream = np.array([1.0, 1.0, 1.0, 0.5]), np.ones(2)
    infinite = np.full(4, np.inf)
    point = Point(
        lambda rows: np.stack([median_and_square(row) for row in rows]), x, median_and_square(x), upstream, -infinite,
        infinite,
    )  # fmt: skip
    found = np.array([1 / 3, 1 / 3, 1 / 3, 1.5])
    told = assess(point, found, Tolerance(1e-5), np.random.default_rng(0))
    op.autodiff = lambda point: slopes(point.x)
    accusation = Discrepancy(point, np.arange(4), found, told.value, told.outcome == Outcome.WRONG, told, slopes(x))
    verdict = judge(accusation, op)
    assert verdict.blamed.tolist() == [False, False, False, True]
    marked = verdict.marked(told)
    assert marked.label[~verdict.blamed & accusation.elements].tolist() == [Label.KINK] * int(
        (~verdict.blamed & accusation.elements).sum()
    )


def test_rounding_of_terms_that_cancel_is_exempt_away_from_the_sample_only():
    big = 1e12
    op = ArrayOp(lambda x: x * 1.0, lambda x: (x + big) - big - x + 1.0, lambda x: np.ones_like(x))
    away = accuse(op, [3.3, 4.7], sampled=False)
    assert away.elements.any()
    assert not judge(away, op).blamed.any()
    assert judge(replace(away, sampled=True), op).blamed.any()


class SinglyRounded(ArrayOp):
    """An op whose rule adds up in float32 what nearly cancels: slope * u = u - (u - slope * u)."""

    def gradient_near(self, point):
        own = np.float32(point.cotangent * (1.0 - self.rule(point.x)))
        return point.cotangent - own.astype(float)


def test_a_gradient_that_rounds_to_float32_inside_is_exempt_away_from_the_sample_only():
    op = SinglyRounded(lambda x: 1e-6 * x, lambda x: np.full_like(x, 1e-6), lambda x: np.full_like(x, 1e-6))
    away = accuse(op, [3.3, 4.7, 0.9, 1.2], sampled=False)
    assert away.elements.any()
    assert not judge(away, op).blamed.any()
    assert judge(replace(away, sampled=True), op).blamed.any()


def test_a_small_gap_of_an_iteration_with_a_tolerance_is_exempt_and_a_factor_is_not():
    def off(size):
        return lambda x: np.cos(x) * (1 + size * np.sin(37 * x))

    for size, exempt in ((4e-3, True), (5e-2, False)):
        op = ArrayOp(np.sin, off(size), np.cos)
        op.iterates = True
        assert judge(accuse(op, [0.3, 0.8, 1.1]), op).blamed.any() != exempt
        op.iterates = False
        assert judge(accuse(op, [0.3, 0.8, 1.1]), op).blamed.all()
    op = ArrayOp(np.sin, lambda x: 1.002 * np.cos(x), np.cos)
    op.iterates = True
    assert judge(accuse(op, [0.3, 0.8, 1.1]), op).blamed.all()


def test_the_last_residual_of_contracting_steps_is_exempt_and_a_small_wrong_term_is_not():
    def residual(x):
        return np.cos(x) + 3e-8 * x**40

    def small_term(x):
        return np.cos(x) + 3e-8 * x**2

    x = [0.93, 0.97, 1.02]
    for rule, exempt in ((residual, True), (small_term, False)):
        d = accuse(ArrayOp(np.sin, rule, np.cos), x)
        d = replace(d, wanted=d.autodiff, elements=np.ones(3, bool))
        assert judge(d, ArrayOp(np.sin, rule, np.cos)).blamed.any() != exempt
    blind = ArrayOp(np.sin, residual, None)
    assert judge(replace(d, autodiff=None, found=residual(d.point.x)), blind).blamed.all()


def test_constants_that_were_rounded_are_exempt_where_exact_ones_agree():
    pi32 = float(np.float32(np.pi))
    op = ArrayOp(
        lambda x: np.sin(np.pi * x * 1e3), lambda x: 1.01 * pi32 * 1e3 * np.cos(np.pi * x * 1e3),
        lambda x: np.pi * 1e3 * np.cos(np.pi * x * 1e3), exact=lambda x: np.pi * 1e3 * np.cos(np.pi * x * 1e3),
    )  # fmt: skip
    accusation = accuse(op, [0.3, 0.8], sampled=False)
    assert accusation.elements.all()
    verdict = judge(accusation, op)
    assert not verdict.blamed.any()
    assert "constants" in reasons(verdict)[0]


ROOT = 1.5274


def rounded_cubic(third):
    """0.1 x^3 - 0.7 x near its minimum, where float32 rounds both constants; `third` is what stands for 0.3."""
    tenth, most = float(np.float32(0.1)), float(np.float32(0.7))
    return ArrayOp(
        lambda x: tenth * x**3 - most * x, lambda x: third(np.float32) * x * x - most,
        lambda x: 3 * tenth * x * x - most, exact=lambda x: third(float) * x * x - 0.7,
        exact_autodiff=lambda x: 3 * 0.1 * x * x - 0.7,
    )  # fmt: skip


def test_constants_are_exempt_at_the_sample_too_where_the_terms_cancel():
    op = rounded_cubic(lambda dtype: float(dtype(0.3)))
    accusation = accuse(op, [ROOT, 0.7])
    assert accusation.elements.tolist() == [True, False]
    assert not judge(accusation, op).blamed.any()


def test_a_wrong_constant_is_not_exempt_where_the_terms_cancel():
    op = rounded_cubic(lambda dtype: float(dtype(0.30001)))
    assert judge(accuse(op, [ROOT, 0.7]), op).blamed[0]


def test_what_gradient_and_autodiff_both_leave_out_is_not_exempt():
    """As behind tf.stop_gradient: both are one result with any constants, and differences say otherwise."""
    op = ArrayOp(lambda x: x * x, lambda x: x, lambda x: x, exact=lambda x: x, exact_autodiff=lambda x: x)
    assert not rounded_constants(accuse(op, [0.4, 0.7]), op).any()


def test_an_op_that_is_right_in_float64_only_is_not_exempt():
    op = rounded_cubic(lambda dtype: 0.3 if dtype is float else 0.4)
    assert judge(accuse(op, [ROOT, 0.7]), op).blamed.all()


def test_a_gradient_that_is_another_one_at_this_very_point_is_neither_rounding_nor_a_constant():
    x = np.float64(np.float32(7.57))
    op = ArrayOp(
        np.sin, lambda v: np.where(v == x, 2.0, 1.0) * np.cos(v), np.cos, exact=np.cos,
    )  # fmt: skip
    accusation = accuse(op, [x, 0.3], sampled=False)
    assert accusation.elements.tolist() == [True, False]
    assert judge(accusation, op).blamed.tolist() == [True, False]


def test_without_a_reason_nothing_is_exempt():
    op = ArrayOp(np.sin, np.sin, np.cos)
    accusation = accuse(op, [0.1, 0.7])
    assert judge(accusation, op, rules=()).blamed.tolist() == accusation.elements.tolist()


@pytest.mark.parametrize("rule", EXEMPTIONS, ids=lambda rule: rule.covers.__name__)
def test_no_rule_covers_what_is_not_accused(rule: Rule):
    op = ArrayOp(np.sin, lambda x: 2 * np.cos(x), np.cos)
    accusation = accuse(op, [0.1, 0.7, -1.2])
    nobody = accusation.only(np.zeros(3, bool))
    assert not judge(nobody, op, rules=(rule,)).exemptions


class Steered(ArrayOp):
    """An op that bends where one of its inputs is 0."""

    @property
    def steering(self):
        return self

    def bends_at(self, x):
        return bool((x == 0).any())


BENT = "an op of the forward bends just there, and the gradient is autodiff's"


def test_autodiffs_slope_where_an_op_of_the_forward_bends_is_exempt():
    halves = Steered(lambda x: x, lambda x: np.where(x == 0, 0.0, 1.0), lambda x: np.where(x == 0, 0.0, 1.0))
    verdict = judge(accuse(halves, [0.0, 1.0], sampled=False), halves)
    assert reasons(verdict) == [BENT]
    assert not verdict.blamed.any()


def test_another_slope_than_autodiffs_is_blamed_where_an_op_bends():
    wrong = Steered(lambda x: x, lambda x: np.where(x == 0, 3.0, 1.0), lambda x: np.ones_like(x))
    assert judge(accuse(wrong, [0.0, 1.0], sampled=False), wrong).blamed.tolist() == [True, False]


def test_autodiffs_slope_where_nothing_bends_is_blamed():
    wrong = ArrayOp(lambda x: x, lambda x: np.where(x == 0, 0.0, 1.0), lambda x: np.where(x == 0, 0.0, 1.0))
    assert judge(accuse(wrong, [0.0, 1.0], sampled=False), wrong).blamed.tolist() == [True, False]


def singular(share):
    """Return a slope of which the last digits of the inputs decide a share."""
    return lambda x: 1.0 + share * np.sin(1e17 * x)


def undecided(op, x):
    told = accuse(op, x)
    open_ = replace(told.assessment, outcome=np.full(len(x), Outcome.UNDECIDED, np.int8))
    return replace(told, assessment=open_, elements=np.ones(len(x), bool))


ILL = "a rounding of the inputs makes another gradient there, and another one of autodiff (a singular matrix)"


def test_what_the_last_digits_of_the_inputs_decide_is_exempt():
    op = ArrayOp(lambda x: x, singular(5.0), singular(-4.0))
    verdict = judge(undecided(op, [0.7, 1.3, 2.1]), op)
    assert reasons(verdict) == [ILL]
    assert not verdict.blamed.any()


@pytest.mark.parametrize(
    ("rule", "autodiff"),
    [
        (lambda x: 2.0 + 0 * x, singular(5.0)),
        (singular(5.0), lambda x: 2.0 + 0 * x),
        (lambda x: 3.0 + 0 * x, lambda x: 2.0 + 0 * x),
    ],
)
def test_a_gradient_or_an_autodiff_that_is_steady_is_no_matter_of_digits(rule, autodiff):
    op = ArrayOp(lambda x: x, rule, autodiff)
    assert judge(undecided(op, [0.7, 1.3, 2.1]), op).blamed.all()
