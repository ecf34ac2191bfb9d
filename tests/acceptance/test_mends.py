"""A mend that is called verified mends the op: put into the file, the case passes."""

from __future__ import annotations

from pathlib import Path

import pytest

OPS = """
import tensorflow as tf


@tf.custom_gradient
def softmax(x):
    y = tf.nn.softmax(x)

    def grad(up):
        return y * up

    return y, grad


@tf.custom_gradient
def product(a, b):
    def grad(up):
        da = tf.matmul(up, b)
        return da, tf.matmul(a, up, transpose_a=True)

    return tf.matmul(a, b), grad


@tf.custom_gradient
def masked(x):
    z = tf.sin(x)
    y = tf.nn.relu(z)

    def grad(up):
        return up * tf.cos(x)

    return y, grad


@tf.custom_gradient
def clipped_far_out(x):
    def grad(up):
        slope = tf.clip_by_value(2.0 * x, -20.0, 20.0)
        return up * slope

    return x * x, grad


@tf.custom_gradient
def of_the_mean(x):
    def grad(up):
        return up * 2.0 * x

    return tf.reduce_mean(x * x), grad


@tf.custom_gradient
def both_negated(a, b):
    def grad(up):
        up = -up
        return up * b, up * a

    return a * b, grad


def made(power):
    @tf.custom_gradient
    def op(x):
        return x**power, lambda up: up * x ** (power - 1.0)

    return op


cubed = made(3.0)


def slope_of_sine(x):
    return tf.sin(x)


@tf.custom_gradient
def sine(x):
    return tf.sin(x), lambda up: up * slope_of_sine(x)


@tf.custom_gradient
def centred_softmax(x):
    y = tf.nn.softmax(x)

    def centred(g):
        return g - tf.reduce_mean(y * g, -1, keepdims=True)

    def grad(up):
        return y * centred(up)

    return y, grad


@tf.custom_gradient
def taps(x, w):
    n = x.shape[1]
    padded = tf.pad(x, [[0, 0], [2, 0]])

    def grad(up):
        wide = tf.pad(up, [[0, 0], [0, 2]])
        dx = tf.add_n([w[j] * wide[:, j : j + n] for j in range(3)])
        return dx, tf.stack([tf.reduce_sum(up * padded[:, j : j + n]) for j in range(3)])

    return tf.add_n([w[j] * padded[:, j : j + n] for j in range(3)]), grad


class Scaled(tf.keras.layers.Layer):
    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1],), initializer="random_normal", name="w")

    def call(self, x):
        w = tf.convert_to_tensor(self.w)

        @tf.custom_gradient
        def op(x, w):
            def grad(up):
                return up * w, tf.reduce_mean(up * x, axis=0)

            return x * w, grad

        return op(x, w)


class Gain(tf.keras.layers.Layer):
    def build(self, shape):
        self.g = self.add_weight(shape=(shape[-1],), initializer="ones", name="g")

    def call(self, x):
        g = tf.convert_to_tensor(self.g)

        @tf.custom_gradient
        def op(x, g):
            y = tf.tanh(x)

            def grad(up):
                return up * (1.0 - y * y), tf.reduce_sum(up * y, axis=0)

            return y * g, grad

        return op(x, g)


@tf.custom_gradient
def right_sine(x):
    return tf.sin(x), lambda up: up * tf.cos(x)


@tf.custom_gradient
def wrong_square(x):
    def grad(up):
        return up * x

    return x * x, grad


@tf.custom_gradient
def steps_of_a_loop(x, w):
    # Four steps of tanh(h + w), whose gradient goes back step by step.
    states = [x]
    for _ in range(4):
        states.append(tf.tanh(states[-1] + w))
    kept = tf.stack(states)

    def grad(up):
        def back(t, g, gw):
            before = kept[t - 1]
            h = kept[t]
            g = g * (1.0 - before * before)
            return t - 1, g, gw + g

        _, g, gw = tf.while_loop(lambda t, *_: t > 0, back, [tf.constant(4), up, tf.zeros_like(w)])
        return g, gw

    return states[-1], grad


@tf.custom_gradient
def rotated(x, angle):
    a, b = tf.split(x, 2, -1)
    c, s = tf.cos(angle), tf.sin(angle)
    y = tf.concat([a * c - b * s, a * s + b * c], -1)

    def grad(up):
        u, v = tf.split(up, 2, -1)
        dx = tf.concat([u * c - v * s, u * s + v * c], -1)
        return dx, tf.reduce_sum(u * (-a * s - b * c) + v * (a * c - b * s), 0)

    return y, grad


@tf.custom_gradient
def inverse(a):
    y = tf.linalg.inv(a)

    def grad(up):
        return -tf.matmul(y, tf.matmul(up, y))

    return y, grad


@tf.custom_gradient
def filtered(x, h):
    X, H = tf.signal.rfft(x), tf.signal.rfft(h)

    def grad(up):
        U = tf.signal.rfft(up)
        dx = tf.signal.irfft(U * H, [8])
        return dx, tf.signal.irfft(U * tf.math.conj(X), [8])

    return tf.signal.irfft(X * H, [8]), grad


@tf.custom_gradient
def smoothed_cross_entropy(z, labels):
    soft = labels * 0.9 + 0.025
    log_p = tf.nn.log_softmax(z)

    def grad(up):
        up = tf.convert_to_tensor(up)[:, None]
        return up * (tf.exp(log_p) - labels), -up * log_p * 0.9

    return -tf.reduce_sum(soft * log_p, -1), grad


def sum_of_two(x):
    return right_sine(x) + wrong_square(x)
"""
SPEC = """
module: ops.py
defaults: {modes: [eager]}
cases:
  softmax: {inputs: {x: {shape: [3, 4]}}}
  product: {inputs: {a: {shape: [3, 3]}, b: {shape: [3, 3]}}}
  masked: {inputs: {x: {shape: [3, 4]}}}
  clipped_far_out: {inputs: {x: {shape: [3, 4]}}}
  of_the_mean: {inputs: {x: {shape: [3, 4]}}}
  both_negated: {inputs: {a: {shape: [3, 4]}, b: {shape: [3, 4]}}}
  cubed: {inputs: {x: {shape: [3, 4]}}}
  sine: {inputs: {x: {shape: [3, 4]}}}
  centred_softmax: {inputs: {x: {shape: [3, 4]}}}
  taps: {inputs: {x: {shape: [2, 8]}, w: {shape: [3]}}}
  Scaled: {build: {}, inputs: {x: {shape: [3, 4]}}}
  Gain: {build: {}, inputs: {x: {shape: [3, 4]}}}
  sum_of_two: {inputs: {x: {shape: [3, 4]}}}
  steps_of_a_loop: {inputs: {x: {shape: [3]}, w: {shape: [3]}}}
  rotated: {inputs: {x: {shape: [2, 6]}, angle: {shape: [3]}}}
  inverse: {inputs: {a: {values: [[2.0, 0.5], [-0.3, 1.5]]}}}
  filtered: {inputs: {x: {shape: [8]}, h: {shape: [8]}}}
  smoothed_cross_entropy:
    inputs: {z: {shape: [2, 4]}, labels: {values: [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]}}
"""


@pytest.fixture(scope="module")
def mended(tmp_path_factory):
    """Return the fixes by case, and the status of every case after all of them."""
    import json
    import subprocess
    import sys

    folder = tmp_path_factory.mktemp("mends")
    (folder / "ops.py").write_text(OPS)
    (folder / "spec.yaml").write_text(SPEC)

    def cases():
        command = [sys.executable, "-m", "gradcheck", "run", "spec.yaml", "--format", "json"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        return {case["case"]: case for case in json.loads(done.stdout)["cases"]}

    wrong = cases()
    lines = (folder / "ops.py").read_text().splitlines()
    fixes = {}
    for name, case in wrong.items():
        assert case["status"] == "failed"
        finding = next((f for f in case["findings"] if f.get("fix")), None)
        if finding is not None:
            number = finding["source"]["line"] - 1
            before = lines[number]
            assert before.strip() == finding["source"]["text"]
            lines[number] = before[: len(before) - len(before.lstrip())] + finding["fix"]
            fixes[name] = finding["fix"]
    Path(folder / "ops.py").write_text("\n".join(lines) + "\n")
    return fixes, {name: case["status"] for name, case in cases().items()}


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("softmax", "return y * up - y * tf.reduce_sum(y * up, axis=-1, keepdims=True)"),
        ("product", "da = tf.matmul(up, b, transpose_b=True)"),
        ("masked", "return up * tf.cos(x) * tf.cast(z > 0, z.dtype)"),
        ("clipped_far_out", "slope = 2.0 * x"),
        ("of_the_mean", "return up * 2.0 * x / tf.cast(tf.size(x), up.dtype)"),
        ("both_negated", "pass  # leave this line out"),
        ("cubed", None),
        ("sine", "return tf.cos(x)"),
        ("centred_softmax", "return g - tf.reduce_sum(y * g, -1, keepdims=True)"),
        ("taps", "dx = tf.add_n([w[2 - j] * wide[:, j : j + n] for j in range(3)])"),
        ("Scaled", "return up * w, tf.reduce_sum(up * x, axis=0)"),
        # Weights of one hide that the factor is forgotten.
        ("Gain", "return up * (1.0 - y * y) * g, tf.reduce_sum(up * y, axis=0)"),
        # The mistake is in the second of two functions.
        ("sum_of_two", "return 2.0 * up * x"),
        # In the body of a loop, by one line or another.
        ("steps_of_a_loop", None),
        ("rotated", "dx = tf.concat([u * c + v * s, -u * s + v * c], -1)"),
        ("inverse", "return -tf.matmul(y, tf.matmul(up, y, transpose_b=True), transpose_a=True)"),
        # A length of zero, which would end the process, is not tried.
        ("filtered", "dx = tf.signal.irfft(U * tf.math.conj(H), [8])"),
        # Labels are given, and sum to one: nowhere else would the fix be right.
        ("smoothed_cross_entropy", "return up * (tf.exp(log_p) - soft), -up * log_p * 0.9"),
    ],
)
def test_a_verified_mend_is_a_line_of_the_file_with_which_the_case_passes(mended, name, fix):
    fixes, statuses = mended
    assert name in fixes
    assert fix is None or fixes[name] == fix
    assert statuses[name] == "passed"


def test_a_mend_that_ends_the_process_takes_no_finding_along(run_cli, write_spec):
    ops = """
import os

import tensorflow as tf


@tf.custom_gradient
def op(x):
    fine = True

    def grad(up):
        return up * (tf.cos(7.0 * x) if fine else os.abort())

    return x**3, grad
"""
    told = run_cli(
        "run", write_spec("module: ops.py\ncases: {op: {inputs: {x: {shape: [3]}}}}", ops), "--format", "json"
    )
    (case,) = told.report["cases"]
    assert told.code == 1
    assert case["status"] == "failed"
    assert "gradient-mismatch" in [finding["code"] for finding in case["findings"]]
    assert any("ended the process" in note for note in case["notes"])
