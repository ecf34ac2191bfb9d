"""Random numbers belong to a seed and a name, and directions hide no error."""

from __future__ import annotations

import numpy as np

from gradcheck.numerics.random_streams import signed_uniform, stream


def test_a_stream_is_the_same_whenever_it_is_asked_for():
    assert stream(3, "a", "b").random() == stream(3, "a", "b").random()


def test_seeds_and_names_have_streams_of_their_own():
    asked = [(3, "a", "b"), (4, "a", "b"), (3, "b", "a"), (3, "ab"), (3,)]
    assert len({stream(seed, *names).random() for seed, *names in asked}) == len(asked)


def test_directions_have_both_signs_and_sizes_from_a_half_to_one_and_a_half():
    drawn = signed_uniform(np.random.default_rng(0), 10_000)
    assert (np.abs(drawn) >= 0.5).all()
    assert (np.abs(drawn) < 1.5).all()
    assert abs((drawn > 0).mean() - 0.5) < 0.02
    assert abs(np.abs(drawn).mean() - 1.0) < 0.01
    assert np.abs(drawn).min() < 0.51
    assert np.abs(drawn).max() > 1.49
