"""What is drawn and given for an input, and what holds its numbers together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from gradcheck.backend.tensorflow.inputs import draw
from gradcheck.spec.parse import parse_data


def leaf(text, seed=0):
    """Return the leaf of the only input of a case."""
    case = {"seed": seed, "inputs": {"x": yaml.safe_load(text)}}
    spec = parse_data({"module": "json", "cases": {"op": case}}, "spec.yaml", Path())
    return draw(spec.cases[0], None, 0)[0][0]


@pytest.mark.parametrize("seed", range(40))
def test_a_drawn_mask_holds_both_truth_values(seed):
    mask = leaf("{shape: [3], dtype: bool}", seed).values
    assert mask.any()
    assert not mask.all()


def test_rows_that_are_given_and_sum_to_one_stay_together():
    assert not leaf("{values: [[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]]}").is_free
    assert not leaf("{values: [0.333, 0.333, 0.333]}").is_free


@pytest.mark.parametrize("values", ["[[0.5, 0.25], [1.0, 0.5]]", "[1.5, -0.5]", "1.0", "[[1.0], [1.0]]", "[1, 0, 0]"])
def test_other_numbers_are_free(values):
    assert leaf(f"{{values: {values}}}").is_free


def test_rows_that_are_drawn_are_free_whatever_they_sum_to():
    assert leaf("{shape: [2, 2], constant: 0.5}").is_free


def test_integers_know_the_ends_of_their_range():
    assert leaf("{shape: [3], integers: {low: 0, high: 41}}").whole_range == (0, 40)
    assert np.all(leaf("{shape: [3], integers: {low: 0, high: 41}}").values < 41)
