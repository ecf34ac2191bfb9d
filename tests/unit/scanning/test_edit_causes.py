"""An edit that mends a gradient names the mistake that it undoes."""

from __future__ import annotations

import ast

import pytest

from gradcheck.findings import CATALOGUE
from gradcheck.scanning.edit_causes import cause_of
from gradcheck.scanning.edits import edits
from gradcheck.scanning.syntax import Syntax


def syntax(line):
    (function,) = ast.parse(line).body
    return Syntax(function, ("u", "x", "y"), line.splitlines())


def causes(line):
    """Return the cause of each line that an edit makes, of the first edit that makes it."""
    text = f"def grad(u):\n    return {line}"
    found = {}
    for edit in edits(syntax(text)):
        found.setdefault(edit.applied(text.splitlines()[1]).strip(), edit.cause)
    return found


def test_every_edit_has_a_cause_of_the_catalogue():
    known = set(CATALOGUE["gradient-mismatch"].causes)
    for line in ("u * 2.0 * x", "tf.matmul(u, x)", "u * tf.where(x > 1.0, x, y) - y", "tf.reduce_sum(u, 0), -u"):
        assert set(causes(line).values()) <= known - {"unknown"}


@pytest.mark.parametrize(
    ("line", "mended", "cause"),
    [
        ("u * 2.0 * x", "return u * 3.0 * x", "inner-factor"),
        ("u - x", "return u + x", "operand"),
        ("u * x", "return u * y", "operand"),
        ("u * x", "return -u * x", "sign-flip"),
        ("tf.matmul(u, x)", "return tf.matmul(u, x, transpose_a=True)", "transposed"),
        ("tf.cumsum(u)", "return tf.cumsum(u, reverse=True)", "index"),
        ("tf.sin(u)", "return tf.cos(u)", "operand"),
        ("u", "return u * tf.cast(x > 0, x.dtype)", "mask"),
        ("u", "return tf.reduce_sum(u, axis=0)", "axis"),
        (
            "tf.transpose(u)",
            "return tf.linalg.set_diag(tf.transpose(u), 0.5 * tf.linalg.diag_part(tf.transpose(u)))",
            "inner-factor",
        ),
        ("2 * tf.reduce_sum(u, 1)", "return 2 * tf.reduce_sum(u, 1) - 2 * tf.reduce_sum(u, 0)", "missing-term"),
        ("tf.matmul(y, y)", "return tf.matmul(y, y, transpose_b=True)", "transposed"),
        ("u", "return u - x * tf.reduce_sum(u, axis=-1, keepdims=True)", "missing-term"),
        ("u, x", "return x, u", "swapped-inputs"),
        ("u[x - 1]", "return u[x - 0]", "index"),
        ("u[:, 1:] * 2.0", "return u[:, 2:] * 2.0", "index"),
        ("tf.reduce_mean(u, 0)", "return tf.reduce_sum(u, 0)", "mean-not-sum"),
        ("tf.math.segment_sum(u, i)", "return tf.math.segment_mean(u, i)", "mean-not-sum"),
        ("tf.einsum('ij->ji', u)", "return tf.einsum('ji->ji', u)", "transposed"),
        ("tf.stack([u[t] for t in r])", "return tf.stack([u[t + 1] for t in r])", "index"),
        ("tf.nn.softmax(u, 1)", "return tf.nn.softmax(u, 0)", "axis"),
        ("tf.reduce_sum(u, axis=[1])", "return tf.reduce_sum(u, axis=[0])", "axis"),
        ("tf.reverse(u, [0])", "return u", "index"),
        ("tf.reduce_mean(u * x, [1, 2])", "return tf.reduce_mean(u * x, [2])", "axis"),
        ("tf.reduce_mean(u * x, axis=2)", "return tf.reduce_mean(u * x, axis=[2, 1])", "axis"),
    ],
)
def test_an_edit_undoes_a_mistake_of_a_name(line, mended, cause):
    assert causes(line).get(mended) == cause


def test_words_that_stood_there_before_say_nothing_of_an_edit():
    assert cause_of("factors", "tf.transpose(u) / 2.0", "tf.transpose(u)") == "inner-factor"
