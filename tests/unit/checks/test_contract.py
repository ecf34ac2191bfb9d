"""What came back from grad_fn, before any number is compared, on ops of four lines of NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.backend.tensorflow.failures import Stopped
from gradcheck.checks import contract
from gradcheck.ways import EAGER
from tests.unit.checks.numpy_lab import found_by, lab_of

X = np.random.default_rng(1).normal(size=(4, 3))


def slope(x, u):
    return np.cos(x) * u


def test_a_gradient_of_the_inputs_shape_is_right():
    assert found_by(contract.CHECK, lab_of(np.sin, slope, slope, X)) == []


def test_a_gradient_that_is_summed_over_the_batch_is_over_reduced():
    summed = lab_of(np.sin, lambda x, u: slope(x, u).sum(0), slope, X)
    assert found_by(contract.CHECK, summed) == ["gradient-shape/over-reduced"]


def test_a_gradient_of_a_bias_that_keeps_the_batch_is_an_unreduced_broadcast():
    def add(x, b):
        return x + b

    lab = lab_of(add, lambda x, b, u: (u, u), lambda x, b, u: (u, u.sum(0)), X, X[0])
    assert found_by(contract.CHECK, lab) == ["gradient-shape/unreduced-broadcast"]


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_forward_that_is_no_number_names_the_domain():
    lab = lab_of(np.sqrt, lambda x, u: u / x, lambda x, u: u / x, np.array([-2.0, -1.0, 1.0, 2.0, 3.0, 4.0]))
    [finding] = contract.ask(lab, [])
    assert finding.code == "forward-nonfinite"
    assert "`domain: [0, .inf]` to `x`" in finding.hint


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_an_infinite_value_alone_names_no_domain():
    values = np.array([1.0, 0.0, 2.0, -1.0, 3.0, 0.5])
    [finding] = contract.ask(lab_of(lambda x: 1 / x, lambda x, u: -u / x**2, None, values), [])
    assert finding.code == "forward-nonfinite"
    assert "`domain" not in finding.hint


def test_an_op_without_floating_outputs_compares_nothing():
    def rounded(x):
        return np.zeros((0,))

    lab = lab_of(rounded, lambda x, u: x, lambda x, u: x, X)
    assert found_by(contract.CHECK, lab) == []


def test_a_rule_that_is_intended_and_never_called_stops_the_case():
    lab = lab_of(np.sin, slope, slope, X, intended=("round_ste",))
    with pytest.raises(Stopped, match="no custom gradient of this name is called"):
        list(contract.ask(lab, []))


def test_a_call_with_keywords_is_told_in_eager():
    lab = lab_of(np.sin, slope, slope, X)
    lab.recorder.keyword_calls.append("sin")
    [finding] = contract.ask(lab, [])
    assert (finding.code, finding.mode) == ("keywords-ignored", EAGER.mode)
