"""What is said of an exception of the user's code."""

from __future__ import annotations

import pytest
import tensorflow as tf

from gradcheck.backend.tensorflow.failures import first_line, hint_for


def raised_by(call):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        call()
    return caught.value


def test_a_name_that_keras_3_does_not_have_names_the_way_to_keras_2():
    error = raised_by(lambda: tf.keras.layers.LocallyConnected1D)
    assert "TF_USE_LEGACY_KERAS=1" in hint_for(error)


def test_a_name_that_a_module_of_the_user_does_not_have_has_no_such_hint():
    assert hint_for(AttributeError("module 'ops' has no attribute 'LocallyConnected1D'")) is None


def test_the_telling_line_of_shapes_that_do_not_fit():
    error = raised_by(lambda: tf.ones([2, 3]) @ tf.ones([2, 3]))
    assert first_line(error).startswith("InvalidArgumentError: ")
    assert "the shapes do not fit" in hint_for(error)
