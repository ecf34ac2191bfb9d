# SPDX-License-Identifier: Apache-2.0
"""A wrong op and its right twin for every finding code, each with the case of a spec that shows it.

`gradcheck explain CODE` and the pages of the documentation print them; a test runs all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

HEAD = "import tensorflow as tf\n\n\n"
_X = "{inputs: {x: {shape: [4]}}}"


@dataclass(frozen=True, slots=True)
class Example:
    """Hold the source of a wrong and of a right `op`, and the case in which they are checked.

    `right_case` is the case of the right one where it needs another.
    """

    wrong: str
    right: str
    case: str = _X
    right_case: str = ""


def _grad(line: str, forward: str = "x * x", before: str = "", arguments: str = "x") -> str:
    """Return an op with a grad_fn of one line."""
    start = f"    {before}\n" if before else ""
    return (
        f"@tf.custom_gradient\ndef op({arguments}):\n{start}    def grad(upstream):\n        {line}\n\n"
        f"    return {forward}, grad\n"
    )


_WITH_VARIABLE = """w = tf.Variable(3.0)


@tf.custom_gradient
def op(x):
    k = tf.convert_to_tensor(w)

    def grad({parameters}):
        return {returned}

    return x * k, grad
"""
_TWO_VARIABLES = """a = tf.Variable([1.0, 2.0, 3.0, 4.0], name="a")
b = tf.Variable([0.5, 0.5, 0.5, 0.5], name="b")


@tf.custom_gradient
def op(x):
    k = tf.convert_to_tensor(a)

    def grad(upstream, variables=None):
        slopes = {{a.ref(): x * upstream, b.ref(): upstream}}
        return k * upstream, [{listed}]

    return x * k + b, grad
"""
_LAYER = """class op(tf.keras.layers.Layer):
    def build(self, shape):
        self.scale = {made}

    def call(self, x):
        return x * self.scale
"""
_KEPT = """kept = []


@tf.custom_gradient
def op(x):
    kept.append(x)

    def grad(upstream):
        return 2.0 * kept[-1] * upstream

    return x * x, grad
"""
_COUNTER = """w = tf.Variable(1.0, trainable=False)


@tf.custom_gradient
def op(x):
    {read}

    def grad(upstream, variables=None):
        return {slope} * upstream, []

    {change}
    return y, grad
"""

EXAMPLES: Mapping[str, Example] = {
    "bad-return": Example(
        "@tf.custom_gradient\ndef op(x):\n    return x * x\n", _grad("return 2.0 * x * upstream")
    ),
    "gradient-count": Example(
        _grad("return alpha * upstream", "x * alpha", arguments="x, alpha"),
        _grad("return tf.convert_to_tensor(upstream) * alpha, None", "x * alpha", arguments="x, alpha"),
        "{inputs: {x: {shape: [4]}}, arguments: {alpha: 3.0}}",
    ),
    "gradient-shape": Example(
        _grad("return upstream, upstream", "x + b", arguments="x, b"),
        _grad("return upstream, tf.reduce_sum(upstream, axis=0)", "x + b", arguments="x, b"),
        "{inputs: {x: {shape: [4, 3]}, b: {shape: [3]}}}",
    ),
    "gradient-dtype": Example(
        _grad("return tf.cast(upstream, tf.float64) * 2.0 * tf.cast(x, tf.float64)"),
        _grad("return 2.0 * x * upstream"),
    ),
    "gradient-missing": Example(_grad("return None"), _grad("return 2.0 * x * upstream")),
    "gradient-nonfinite": Example(
        _grad("return tf.exp(x) / (1.0 + tf.exp(x)) * upstream", "tf.nn.softplus(x)"),
        _grad("return tf.sigmoid(x) * upstream", "tf.nn.softplus(x)"),
        "{inputs: {x: [1.0, 100.0]}}",
    ),
    "gradient-mismatch": Example(_grad("return 3.0 * x * upstream"), _grad("return 2.0 * x * upstream")),
    "upstream-nonlinear": Example(_grad("return 2.0 * x"), _grad("return 2.0 * x * upstream")),
    "nondeterministic": Example(
        _grad(
            "return tf.cast(tf.random.uniform(tf.shape(x)) < 0.5, x.dtype) * upstream", "x * mask",
            "mask = tf.cast(tf.random.uniform(tf.shape(x)) < 0.5, x.dtype)",
        ),
        _grad("return mask * upstream", "x * mask", "mask = tf.cast(tf.random.uniform(tf.shape(x)) < 0.5, x.dtype)"),
    ),
    "stale-state": Example(_KEPT, _grad("return 2.0 * x * upstream")),
    "precision-loss": Example(
        _grad("return (tf.exp(x) - 1.0) * upstream", "tf.exp(x) - x"),
        _grad("return tf.math.expm1(x) * upstream", "tf.exp(x) - x"),
        "{inputs: {x: {shape: [4], uniform: {low: 1.0e-4, high: 2.0e-4}}}, modes: [eager]}",
    ),
    "second-order-mismatch": Example(
        _grad("return slope * upstream", before="slope = tf.stop_gradient(x) + x"),
        _grad("return 2.0 * x * upstream"),
        "{inputs: {x: {shape: [4]}}, order: 2}",
    ),
    "second-order-missing": Example(
        _grad("return tf.stop_gradient(2.0 * x) * upstream"),
        _grad("return 2.0 * x * upstream"),
        "{inputs: {x: {shape: [4]}}, order: 2}",
    ),
    "value-mismatch": Example(
        _grad("return 2.0 * x * upstream", "x * x + 0.01") + "\n\ndef plain(x):\n    return x * x\n",
        _grad("return 2.0 * x * upstream") + "\n\ndef plain(x):\n    return x * x\n",
        "{inputs: {x: {shape: [4]}}, reference: plain}",
    ),
    "mode-mismatch": Example(
        _grad("return (2.0 if tf.executing_eagerly() else 3.0) * x * upstream"), _grad("return 2.0 * x * upstream")
    ),
    "mode-unsupported": Example(
        _grad("return 2.0 * x.numpy() * upstream"), _grad("return 2.0 * x * upstream")
    ),
    "dynamic-shape": Example(
        _grad("return 2.0 * x * upstream / x.shape[0]", "tf.reduce_sum(x * x) / tf.cast(tf.shape(x)[0], x.dtype)"),
        _grad(
            "return 2.0 * x * upstream / tf.cast(tf.shape(x)[0], x.dtype)",
            "tf.reduce_sum(x * x) / tf.cast(tf.shape(x)[0], x.dtype)",
        ),
        "{inputs: {x: {shape: [4]}}, dynamic_shapes: true}",
    ),
    "sparse-upstream": Example(
        _grad("return upstream * 2.0 * x"), _grad("return tf.convert_to_tensor(upstream) * 2.0 * x")
    ),
    "device-fallback": Example(
        _grad("return 2.0 * x * upstream"), _grad("return 2.0 * x * upstream"),
        "{inputs: {x: {shape: [4]}}, devices: [gpu:7]}", _X,
    ),
    "variables-keyword": Example(
        _WITH_VARIABLE.format(parameters="upstream", returned="k * upstream"),
        _WITH_VARIABLE.format(
            parameters="upstream, variables=None", returned="k * upstream, [tf.reduce_sum(x * upstream)]"
        ),
    ),
    "variables-count": Example(
        _WITH_VARIABLE.format(parameters="upstream, variables=None", returned="k * upstream, []"),
        _WITH_VARIABLE.format(
            parameters="upstream, variables=None", returned="k * upstream, [tf.reduce_sum(x * upstream)]"
        ),
    ),
    "variables-order": Example(
        _TWO_VARIABLES.format(listed="slopes[a.ref()], slopes[b.ref()]"),
        _TWO_VARIABLES.format(listed="slopes[v.ref()] for v in variables"),
    ),
    "variable-untracked": Example(
        _LAYER.format(made="tf.Variable(2.0)"),
        _LAYER.format(made='self.add_weight(shape=(), initializer="ones", name="scale")'),
        "{build: {}, inputs: {x: {shape: [4]}}}",
    ),
    "captured-tensor": Example(
        "gain = tf.constant([1.0, 2.0, 3.0, 4.0])\n\n\n@tf.custom_gradient\ndef op(x):\n"
        "    return x * gain, lambda upstream: gain * upstream\n",
        "@tf.custom_gradient\ndef op(x, gain):\n"
        "    return x * gain, lambda upstream: (gain * upstream, x * upstream)\n",
        _X,
        "{inputs: {x: {shape: [4]}, gain: {shape: [4]}}}",
    ),
    "rule-bypassed": Example(
        _grad("return -upstream", "tf.identity(x)") + "\n\ndef reversed_gradient(x):\n    return -x\n",
        _grad("return 2.0 * x * upstream"),
        "{inputs: {x: {shape: [4]}}, surrogate: reversed_gradient, modes: [eager, forward]}",
        "{inputs: {x: {shape: [4]}}, modes: [eager, forward]}",
    ),
    "no-gradient": Example(
        "def op(x):\n    return tf.round(x)\n",
        "def op(x):\n    return x + tf.stop_gradient(tf.round(x) - x)\n\n\ndef identity(x):\n    return x\n",
        _X, "{inputs: {x: {shape: [4]}}, surrogate: identity}",
    ),
    "unconnected": Example("def op(x):\n    return tf.constant([1.0, 2.0])\n", "def op(x):\n    return 2.0 * x\n"),
    "keywords-ignored": Example(
        _grad("return 2.0 * x * upstream").replace("def op", "def square") + "\n\ndef op(x):\n    return square(x=x)\n",
        _grad("return 2.0 * x * upstream").replace("def op", "def square") + "\n\ndef op(x):\n    return square(x)\n",
        "{inputs: {x: {shape: [4]}}, modes: [eager]}",
    ),
    "state-changed": Example(
        _COUNTER.format(read="y = x * w", slope="w", change="w.assign_add(1.0)"),
        _COUNTER.format(read="y = x * w", slope="w", change="").replace("    \n    return", "    return"),
        "{inputs: {x: {shape: [4]}}, modes: [eager]}",
    ),
    "forward-nonfinite": Example(
        "def op(x):\n    return tf.math.log(x)\n", "def op(x):\n    return tf.math.log(x)\n",
        _X, "{inputs: {x: {shape: [4], uniform: {low: 0.1, high: 2.0}, domain: [0, .inf]}}}",
    ),
    "inconclusive": Example(
        "def op(x):\n    return tf.nn.relu(x)\n", "def op(x):\n    return tf.nn.relu(x)\n",
        "{inputs: {x: [-1.0, 0.0, 1.0]}}", "{inputs: {x: {shape: [4], avoid: [0.0]}}}",
    ),
    "import-error": Example("raise ImportError('no such library')\n", _grad("return 2.0 * x * upstream")),
    "op-error": Example(
        "def op(x):\n    return tf.matmul(x, x)\n", "def op(x):\n    return tf.matmul(x, x, transpose_b=True)\n",
        "{inputs: {x: {shape: [4, 3]}}}",
    ),
    "gradient-error": Example(
        _grad("return tf.matmul(upstream, b), tf.matmul(a, upstream)", "tf.matmul(a, b)", arguments="a, b"),
        _grad(
            "return tf.matmul(upstream, b, transpose_b=True), tf.matmul(a, upstream, transpose_a=True)",
            "tf.matmul(a, b)", arguments="a, b",
        ),
        "{inputs: {a: {shape: [2, 3]}, b: {shape: [3, 4]}}}",
    ),
    "crashed": Example(
        "import os\n\n\ndef op(x):\n    os.abort()\n", "def op(x):\n    return x * x\n",
    ),
    "timeout": Example(
        "def op(x):\n    while True:\n        pass\n", "def op(x):\n    return x * x\n",
        "{inputs: {x: {shape: [4]}}, timeout: 5}",
    ),
    "out-of-memory": Example(
        "def op(x):\n    return x * tf.reduce_sum(tf.ones([2_000_000, 2_000_000]))\n",
        "def op(x):\n    return x * 4.0\n",
    ),
}  # fmt: skip
