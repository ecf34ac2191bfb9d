# SPDX-License-Identifier: Apache-2.0
"""Write an op as a SavedModel or a .keras file, with the values at which it is differentiated when it is loaded."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.backend.tensorflow.fresh_process import VALUES
from gradcheck.backend.tensorflow.runs import Gradients, as_tensor, dtype_name, spec_of
from gradcheck.backend.tensorflow.tracing import function


def save_program(
    gradients: Gradients, every_variable: Sequence[Any], values: Sequence[Any], folder: str, keep_rules: bool
) -> None:
    """Write the op as a SavedModel in `folder`; raises what TensorFlow raises.

    `keep_rules` is SaveOptions(experimental_custom_gradients=...), without which TensorFlow drops custom gradients.
    """
    gradients.state.restore()
    program = tf.Module()
    program.kept = list(every_variable)
    program.differentiated = list(gradients.variables)
    specs = [spec_of(value) for value in values]
    program.op = function(lambda *tensors: gradients.operation(list(tensors)), input_signature=specs)
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=keep_rules)
    tf.saved_model.save(program, os.path.join(folder, "program"), options=options)


def save_layer(layer: Any, values: Sequence[Any], folder: str) -> None:
    """Write a Keras layer with one input as a model in a .keras file; raises what Keras raises."""
    (value,) = values
    keras = tf.keras
    model = keras.Sequential([keras.Input(batch_shape=np.shape(value), dtype=dtype_name(value)), layer])
    model(as_tensor(value))
    model.save(os.path.join(folder, "layer.keras"))


def places_of(layer: Any, variables: Sequence[Any]) -> tuple[int, ...] | None:
    """Return the places of variables among the trainable ones of a layer, which keep their order in a file.

    None where one of them is not tracked: the file does not hold it.
    """
    places = {id(getattr(v, "value", v)): place for place, v in enumerate(layer.trainable_variables)}
    found = [places.get(id(variable)) for variable in variables]
    return None if None in found else tuple(place for place in found if place is not None)


def save_values(values: Sequence[Any], upstream: Sequence[Any], folder: str) -> None:
    """Write inputs and upstream; half precision is written in float32, which holds it exactly."""
    dtypes = {"values": [dtype_name(v) for v in values], "upstream": [dtype_name(u) for u in upstream]}
    arrays = {f"value.{i}": _plain(v) for i, v in enumerate(values)}
    arrays |= {f"upstream.{i}": _plain(u) for i, u in enumerate(upstream)}
    np.savez(os.path.join(folder, VALUES), dtypes=np.array(json.dumps(dtypes)), **arrays)


def _plain(value: Any) -> Any:
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.kind == "V" else array
