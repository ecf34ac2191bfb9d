"""The modes agree at other inputs than the sample, on ops of four lines of NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.checks import modes_elsewhere
from gradcheck.results import Finding
from tests.unit.checks.numpy_lab import found_by, lab_of, no_graph

# The sample is small, so that what happens further out is not in it.
X = np.random.default_rng(5).uniform(-0.5, 0.5, (4, 3))


def slope(x, u):
    return np.cos(x) * u


def wrong_further_out(x, u):
    return np.where(np.abs(x) > 0.6, 1.5, 1.0) * slope(x, u)


FURTHER_OUT = 2 * X.ravel()


@pytest.mark.parametrize("mode", ["function", "xla"])
def test_a_branch_that_one_mode_alone_takes_differs_where_it_is_taken(mode):
    lab = lab_of(np.sin, slope, slope, X, in_way={mode: wrong_further_out})
    assert not modes_elsewhere.differ_at(lab, X.ravel())
    assert modes_elsewhere.differ_at(lab, FURTHER_OUT)


def test_a_mode_that_raises_further_out_says_nothing():
    lab = lab_of(np.sin, slope, slope, X, in_way={"xla": lambda x, u: no_graph()})
    assert not modes_elsewhere.differ_at(lab, FURTHER_OUT)


def test_modes_that_agree_everywhere_are_not_blamed():
    assert found_by(modes_elsewhere.CHECK, lab_of(np.sin, slope, slope, X)) == []


def test_a_gradient_that_is_wrong_in_every_mode_is_no_matter_of_modes():
    assert found_by(modes_elsewhere.CHECK, lab_of(np.sin, wrong_further_out, slope, X)) == []


def test_the_last_digit_further_out_is_rounding():
    lab = lab_of(np.sin, slope, slope, X, in_way={"xla": lambda x, u: slope(x, u) * (1 + 1e-7 * (np.abs(x) > 0.6))})
    assert found_by(modes_elsewhere.CHECK, lab) == []


def test_one_mode_alone_has_nothing_beside_it():
    assert found_by(modes_elsewhere.CHECK, lab_of(np.sin, slope, slope, X, modes=("eager",))) is None


def test_modes_that_differ_at_the_sample_are_not_looked_at_again():
    found = [Finding("mode-mismatch", "", level="error")]
    assert modes_elsewhere.CHECK.reason_to_skip(lab_of(np.sin, slope, slope, X), found) is not None
