# SPDX-License-Identifier: Apache-2.0
"""What Keras calls a layer, a model and a variable: Keras 3, Keras 2 (tf_keras), or none that can be imported."""

from __future__ import annotations

import functools
import random
from typing import Any

import numpy as np
import tensorflow as tf


@functools.cache
def _keras() -> Any:
    """Return the Keras that TensorFlow offers, None if it cannot be imported.

    TF_USE_LEGACY_KERAS without tf_keras and KERAS_BACKEND without that backend end in errors of any
    kind; ops without Keras are checked all the same.
    """
    try:
        found = tf.keras
        return found if found.layers.Layer else None
    except Exception:
        return None


def is_layer(value: Any) -> bool:
    """Return whether a value is a Keras layer."""
    keras = _keras()
    return keras is not None and isinstance(value, keras.layers.Layer)


def is_model(value: Any) -> bool:
    """Return whether a value is a Keras model."""
    keras = _keras()
    return keras is not None and isinstance(value, keras.Model)


def is_own(value: Any) -> bool:
    """Return whether a layer or model is Keras' own and not the user's."""
    return type(value).__module__.startswith(("keras.", "tf_keras."))


def raw_variable(value: Any) -> Any:
    """Return the tf.Variable inside a variable of Keras 3; other values as they are."""
    if isinstance(value, tf.Variable) or not _is_keras_variable(type(value)):
        return value
    return getattr(value, "value", None)


def _is_keras_variable(kind: type) -> bool:
    """Return whether a type is Keras' variable, by its name: `keras.Variable` is another class before Keras 3.7."""
    return any(k.__module__.startswith("keras.") and k.__name__ in ("Variable", "KerasVariable") for k in kind.__mro__)


def set_random_seed(seed: int) -> None:
    """Seed Python, NumPy, TensorFlow and Keras."""
    keras = _keras()
    if keras is not None:
        keras.utils.set_random_seed(seed)
        return
    random.seed(seed)
    np.random.seed(seed)
    tf.random.set_seed(seed)
