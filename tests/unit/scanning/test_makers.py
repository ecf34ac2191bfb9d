"""Custom gradients that a decorator or a factory makes, of this file or of one beside it, are ops too."""

from __future__ import annotations

import pytest

from gradcheck.scanning.declarations import parsed

RULE = "    return x * x, lambda u: 2.0 * u * x\n"
DECORATED = f"@tf.custom_gradient\ndef square(x):\n{RULE}"


def indented(text):
    return "".join(f"    {line}\n" for line in text.splitlines())


def ops(source):
    return set(parsed(f"import tensorflow as tf\n{source}".encode(), "ops.py").ops)


@pytest.mark.parametrize(
    "source",
    [
        f"if tf.__version__ > '2':\n{indented(DECORATED)}",
        f"try:\n    import kernels\nexcept ImportError:\n{indented(DECORATED)}",
        f"try:\n    pass\nfinally:\n{indented(DECORATED)}",
        f"with tf.device('cpu'):\n{indented(DECORATED)}",
        f"def house(f):\n    return tf.custom_gradient(f)\n\n@house\ndef square(x):\n{RULE}",
        "def vjp(forward, backward):\n"
        "    @tf.custom_gradient\n"
        "    def op(x):\n"
        "        return forward(x), lambda u: backward(u, x)\n"
        "    return op\n"
        "square = vjp(tf.square, lambda u, x: 2.0 * u * x)\n",
    ],
)
def test_what_stands_below_a_condition_or_is_made_by_a_helper_is_an_op(source):
    assert ops(source) == {"square"}


def test_a_maker_of_which_nothing_is_made_here_is_an_op_itself():
    source = (
        "def make(k):\n    @tf.custom_gradient\n    def f(x):\n        return k * x, lambda u: k * u\n    return f\n"
    )
    assert ops(source) == {"make"}
    assert ops(f"{source}double = make(2.0)\n") == {"double"}


def test_an_op_that_is_called_once_at_the_top_is_no_maker():
    inner = "    @tf.custom_gradient\n    def f(x):\n        return x, lambda u: u\n    return f(x)\n"
    assert ops(f"def same(x):\n{inner}one = same(tf.ones([3]))\n") == {"same"}


def test_what_runs_python_code_makes_no_op():
    source = "def host(x):\n    return tf.py_function(abs, [x], tf.float32)\none = host(tf.ones([3]))\n"
    assert ops(source) == {"host"}


def test_a_method_is_an_op_unless_its_object_is_called():
    method = f"    @staticmethod\n{indented(DECORATED)}"
    assert ops(f"class Ops:\n{method}") == {"Ops.square"}
    called = f"class Ops:\n    def __call__(self, x):\n{indented(indented(DECORATED))}        return square(x)\n"
    assert ops(called) == {"Ops"}
    assert ops(f"class Gate(tf.keras.layers.Layer):\n{method}") == {"Gate"}


def test_a_gradient_of_an_op_is_known_as_one():
    module = parsed(
        b"import tensorflow as tf\n@tf.RegisterGradient('Mine')\ndef mine(op, u):\n    return u\n", "ops.py"
    )
    assert (module.ops, list(module.registered)) == ({}, ["mine"])


@pytest.mark.parametrize("way", ["from .base import {}", "from package.base import {}", "from base import {}"])
@pytest.mark.parametrize("name", ["own", "house"])
def test_a_decorator_may_come_from_a_file_beside(tmp_path, way, name):
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "base.py").write_text(
        "import tensorflow as tf\nown = tf.custom_gradient\ndef house(f):\n    return tf.custom_gradient(f)\n"
    )
    source = f"{way.format(name)}\n@{name}\ndef square(x):\n{RULE}"
    assert set(parsed(source.encode(), str(folder / "ops.py")).ops) == {"square"}


def test_files_that_import_one_another_come_to_an_end(tmp_path):
    for one, other in (("a", "b"), ("b", "a")):
        (tmp_path / f"{one}.py").write_text(f"from {other} import custom_gradient\n")
    source = f"from a import custom_gradient\n@custom_gradient\ndef square(x):\n{RULE}"
    assert set(parsed(source.encode(), str(tmp_path / "ops.py")).ops) == {"square"}
