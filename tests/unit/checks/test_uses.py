"""Whether TensorFlow uses a rule at all, on ops of four lines of NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gradcheck.checks import uses
from tests.unit.checks.numpy_lab import found_by, lab_of

X = np.random.default_rng(4).normal(size=(4, 3))


def slope(x, u):
    return np.cos(x) * u


def nothing(x, u):
    return np.zeros_like(x)


def with_bypassed(vjp, *names):
    return bypassing(lab_of(np.sin, vjp, slope, X), names)


def bypassing(lab, names):
    vars(lab)["_first"] = replace(lab._first, bypassed=names)
    return lab


def test_a_rule_that_runs_is_used():
    assert found_by(uses.CHECK, with_bypassed(slope)) == []


def test_a_rule_that_never_runs_is_bypassed():
    [finding] = uses.ask(with_bypassed(slope, "sine"), [])
    assert finding.code == "rule-bypassed"
    assert "`sine`" in finding.message


def test_a_forward_that_nothing_is_learnt_through_needs_no_rule():
    assert found_by(uses.CHECK, bypassing(lab_of(np.sign, nothing, nothing, X), ("sign",))) == []


def test_an_op_without_a_rule_is_skipped():
    lab = with_bypassed(slope)
    lab.custom = False
    assert found_by(uses.CHECK, lab) is None
