"""A fault of gradcheck's own is reported as one, wherever it comes up; what the op raises is never taken for one."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import gradcheck
from gradcheck.backend.tensorflow.faults import own_fault
from gradcheck.checks import CHECKS


class Planted(TypeError):
    """A fault that no code expects."""


def fail(*args, **kwargs):
    raise Planted("planted")


@tf.custom_gradient
def square(x):
    def grad(upstream):
        return tf.convert_to_tensor(upstream) * 2.0 * x

    return x * x, grad


@tf.custom_gradient
def branched(x):
    def grad(upstream):
        return tf.convert_to_tensor(upstream) * tf.where(tf.reduce_sum(x) > 300.0, 2.0 * x, x + x)

    return x * x, grad


@tf.custom_gradient
def wrong(x):
    return x * x, lambda upstream: tf.convert_to_tensor(upstream) * 3.0 * x


X = np.linspace(-1.0, 2.0, 6, dtype=np.float32).reshape(3, 2)

# Something that every check calls, and what stands between them.
PLACES = (
    ("gradcheck.checks.contract", "_of_slot"),
    ("gradcheck.checks.repeatability", "same_runs"),
    ("gradcheck.checks.disturbances", "_changed_by_second_forward"),
    ("gradcheck.checks.disturbances", "another_point"),
    ("gradcheck.checks.captures", "_order"),
    ("gradcheck.checks.linearity", "_gap"),
    ("gradcheck.checks.slopes", "_comparison"),
    ("gradcheck.checks.own_dtype", "_excess"),
    ("gradcheck.checks.apart", "beyond"),
    ("gradcheck.checks.exact", "redraws_and_grid"),
    ("gradcheck.checks.zeros", "contradicted_at"),
    ("gradcheck.checks.special_numbers", "special_numbers"),
    ("gradcheck.checks.unknown_sizes", "_agree"),
    ("gradcheck.checks.second_order", "_differences"),
    ("gradcheck.checks.other_values", "compared_nearby"),
    ("gradcheck.checks.branches", "_is_odd"),
    ("gradcheck.sites.branches", "reached"),
    ("gradcheck.checks.other_values", "look_at"),
    ("gradcheck.checks.other_sites", "_agree"),
    ("gradcheck.differences.stencils", "contract"),
    ("gradcheck.differences.assess", "first_stage"),
    ("gradcheck.measure.rounding", "last_digits_moved"),
    ("gradcheck.measure.precision", "find_blocks"),
    ("gradcheck.measure.away", "_asked"),
    ("gradcheck.engine.plan", "completed"),
)


@pytest.mark.parametrize(("module", "name"), PLACES)
def test_a_planted_fault_is_reported_as_gradchecks_own(monkeypatch, module, name):
    op = {"completed": wrong, "_is_odd": branched, "reached": branched}.get(name, square)
    monkeypatch.setattr(f"{module}.{name}", fail)
    result = gradcheck.check(op, {"x": X}, order=2, reference="exact")
    assert "crashed/internal" in [f.label for f in result.findings]
    assert "planted" in result.findings[-1].message


@pytest.mark.parametrize("check", [c for c in CHECKS if c.name != "forward values"], ids=lambda c: c.name)
def test_every_check_lets_a_fault_of_its_own_through(monkeypatch, check):
    """Each check's answer is made by a generator: one that fails at once stands for a fault anywhere in it."""
    broken = type(check)(check.name, check.phase, fail, exploring=check.exploring)
    monkeypatch.setattr("gradcheck.engine.plan.CHECKS", (broken,))
    result = gradcheck.check(square, {"x": X}, order=2)
    assert [f.label for f in result.findings] == ["crashed/internal"]


def test_what_an_op_raises_is_no_fault_of_gradchecks():
    @tf.custom_gradient
    def refuses(x):
        if tf.reduce_any(x > 5.0):
            raise TypeError("no numbers above five")
        return x * x, lambda upstream: tf.convert_to_tensor(upstream) * 2.0 * x

    result = gradcheck.check(refuses, {"x": X}, modes=["eager"])
    assert "crashed" not in [f.code for f in result.findings]


def test_what_tensorflow_raises_without_a_line_of_the_users_is_none_either():
    from gradcheck.backend.tensorflow.runtime import whole_tracebacks

    with whole_tracebacks(), pytest.raises(tf.errors.InvalidArgumentError) as raised:
        tf.linalg.matmul(tf.ones((2, 3)), tf.ones((2, 3)))
    assert not own_fault(raised.value)
