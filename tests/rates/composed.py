"""Verdicts on ops put together at random, whose gradients are right or wrong by construction.

    python -m tests.rates.composed [--count N] [--seed N] [-j N] [--keep FOLDER]

The right gradient of each is TensorFlow's own of the same forward; the wrong ones change it by a
mistake people make.  Prints what was missed and what was blamed, and how often.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ELEMENTWISE = (
    "tf.sin({0})", "tf.tanh({0})", "tf.exp(tf.tanh({0}))", "tf.sigmoid({0})", "tf.nn.softplus({0})", "tf.square({0})",
    "{0} * {0} * {0}", "tf.sqrt({0} * {0} + 0.1)", "tf.math.log1p({0} * {0})", "tf.math.erf({0})", "tf.atan({0})",
    "tf.nn.gelu({0})", "tf.nn.silu({0})", "tf.nn.elu({0})", "tf.nn.relu({0})", "tf.abs({0})", "tf.nn.leaky_relu({0})",
    "tf.clip_by_value({0}, -1.0, 1.0)", "tf.maximum({0}, 0.3)", "tf.where({0} > 0.5, {0} * {0}, 0.25 + 0.0 * {0})",
    "1.0 / (1.0 + {0} * {0})", "tf.cos(3.0 * {0})", "tf.math.lgamma({0} * {0} + 1.0)", "{0} / (tf.abs({0}) + 1.0)",
    "tf.nn.relu6({0})", "tf.nn.selu({0})", "tf.math.asinh({0})", "tf.pow(tf.abs({0}) + 0.5, 1.7)", "{0} * 1e3",
    "{0} * 1e-3", "{0} - 2.0",
)  # fmt: skip
ROWWISE = (
    "tf.nn.softmax({0})", "tf.nn.log_softmax({0})", "tf.cumsum({0}, -1)", "tf.reverse({0}, [-1])",
    "tf.math.l2_normalize({0} + 0.5, -1)", "{0} - tf.reduce_mean({0}, -1, keepdims=True)", "tf.roll({0}, 1, -1)",
    "tf.math.cumulative_logsumexp({0}, -1)", "tf.sort({0}, -1)", "tf.reduce_sum({0}, -1, keepdims=True) * {0}",
    "tf.reduce_max({0}, -1, keepdims=True) - {0}", "tf.math.cumprod({0} + 1.5, -1)",
    "tf.sqrt(tf.math.reduce_variance({0}, -1, keepdims=True) + 0.1) + {0}", "tf.nn.l2_loss({0}) * {0}",
    "tf.linalg.band_part({0}, 1, 1)",
    "tf.gather({0}, tf.range(tf.shape({0})[1]) // 2, axis=-1)",
)  # fmt: skip
OF_TWO = (
    "{0} + tf.sin({1})", "{0} * {1}", "{0} / (2.0 + {1} * {1})", "tf.maximum({0}, {1})", "tf.minimum({0}, {1})",
    "tf.atan2({0}, {1} * {1} + 1.0)", "tf.where({0} > {1}, {0}, {1})", "tf.math.squared_difference({0}, {1})",
)  # fmt: skip
LAST = (
    "tf.reduce_sum({0}, -1)", "tf.reduce_logsumexp({0}, -1)", "tf.reduce_mean({0}, 0)", "tf.norm({0} + 0.3, axis=-1)",
    "tf.reduce_max({0}, -1)", "tf.reduce_sum({0})", "tf.linalg.matmul({0}, {0}, transpose_b=True)", "tf.transpose({0})",
    "tf.math.top_k({0}, 2)[0]", "tf.math.reduce_variance({0}, 0)", "tf.concat([{0}, {0} * 2.0], -1)",
    "tf.pad({0}, [[0, 0], [1, 1]])", "{0}[:, ::2]", "tf.repeat({0}, 2, axis=-1)",
    "tf.linalg.logdet(tf.linalg.matmul({0}, {0}, transpose_b=True) + tf.eye(tf.shape({0})[0], dtype={0}.dtype))",
)  # fmt: skip
# What becomes of the right gradient, right(u).
MISTAKES = {
    "1 % too large": "1.01 * right(u)",
    "0.1 % too large": "1.001 * right(u)",
    "negated": "-right(u)",
    "twice": "2.0 * right(u)",
    "zero": "0.0 * right(u)",
    "a little added": "right(u) + 0.01",
    "first row 10 % too large": "tf.concat([right(u)[:1] * 1.1, right(u)[1:]], 0)",
    "other for positive inputs": "tf.where(x > 0.0, 0.9 * right(u), right(u))",
    "without the upstream": "right(tf.ones_like(u))",
    "absolute upstream": "right(tf.abs(u))",
    "rows moved": "tf.roll(right(u), 1, 0)",
    "columns reversed": "tf.reverse(right(u), [1])",
    "squared": "right(u) * right(u)",
    "mean, not sum": "right(u) / tf.cast(tf.size(x), x.dtype)",
    "clipped": "tf.clip_by_value(right(u), -0.2, 0.2)",
    "upstream squared": "right(u * tf.abs(u))",
    "last rows zero": "tf.concat([right(u)[:1], 0.0 * right(u)[1:]], 0)",
    "wrong beyond 6": "tf.where(x > 6.0, 0.5 * right(u), right(u))",
}
SOURCE = """
def forward_{name}(x):
{lines}


@tf.custom_gradient
def {name}(x):
    def grad(u):
        def right(u):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = forward_{name}(x)
            return tape.gradient(y, x, u, unconnected_gradients="zero")

        return {gradient}

    return forward_{name}(x), grad
"""
SHAPES = ([3, 4], [2, 3], [5, 3], [4, 6], [3, 3])


@dataclass(frozen=True)
class Composed:
    """Hold an op put together at random: its source, its input and the mistake in its gradient, if any."""

    name: str
    forward: str
    mistake: str
    shape: list[int]
    dtype: str

    @property
    def source(self) -> str:
        """Return the module code of the op."""
        return SOURCE.format(name=self.name, lines=self.forward, gradient=MISTAKES.get(self.mistake, "right(u)"))


def compose(rng: random.Random, name: str) -> Composed:
    """Return an op of one to five steps."""
    steps = ["a0 = x"]
    for number in range(rng.randint(1, 4)):
        kind = rng.random()
        pattern = rng.choice(ELEMENTWISE if kind < 0.55 else ROWWISE if kind < 0.8 else OF_TWO)
        steps.append(f"a{number + 1} = {pattern.format(f'a{number}', f'a{rng.randint(0, number)}')}")
    final = f"a{len(steps) - 1}"
    steps.append(f"return {rng.choice(LAST).format(final) if rng.random() < 0.35 else final}")
    mistake = rng.choice([*MISTAKES, *[""] * len(MISTAKES)])
    dtype = rng.choice(["float32", "float32", "float64"])
    return Composed(name, "\n".join(f"    {step}" for step in steps), mistake, rng.choice(SHAPES), dtype)


def matters(op: Composed, folder: Path) -> bool:
    """Return whether the mistake changes the gradient at inputs drawn here: twice zero is none, nor is rounding."""
    import tensorflow as tf

    path = folder / "alone.py"
    path.write_text("import tensorflow as tf\n" + op.source)
    found = importlib.util.spec_from_file_location(op.name, path)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    x = tf.random.stateless_normal(op.shape, [1, 2], dtype=tf.float64)
    x = tf.concat([x[:1] + 7.0, x[1:]], 0) if "beyond" in op.mistake else x
    gradients = []
    for call in (getattr(module, op.name), getattr(module, f"forward_{op.name}")):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = call(x)
        gradients.append(tape.gradient(y, x, tf.random.stateless_normal(tf.shape(y), [3, 4], dtype=y.dtype)))
    wrong, right = gradients
    return bool(tf.reduce_max(tf.abs(wrong - right)) > tf.maximum(3e-4 * tf.reduce_max(tf.abs(right)), 1e-9))


def write(folder: Path, count: int, seed: int) -> dict[str, Composed]:
    """Write a module and a spec of `count` ops; return the ops by case name."""
    rng = random.Random(seed)
    ops: dict[str, Composed] = {}
    while len(ops) < count:
        op = compose(rng, f"op{len(ops)}")
        if not op.mistake or matters(op, folder):
            ops[op.name] = op
    (folder / "ops.py").write_text("import tensorflow as tf\n" + "\n".join(op.source for op in ops.values()))
    drawn = {"domain": [-50.0, 50.0], "normal": {}}
    cases = {op.name: {"inputs": {"x": {"shape": op.shape, "dtype": op.dtype, **drawn}}} for op in ops.values()}
    (folder / "spec.yaml").write_text(json.dumps({"module": "ops.py", "cases": cases}))
    return ops


def misjudged(ops: dict[str, Composed], results) -> list[str]:
    """Return a line for each wrong verdict."""
    lines = []
    for result in results:
        op = ops[result.case]
        codes = [f"{f.label} ({f.message[:90]})" for f in result.findings if f.level == "error"]
        if bool(codes) != bool(op.mistake):
            forward = "; ".join(line.strip() for line in op.forward.splitlines())
            lines.append(f"{op.mistake or 'right'} [{op.dtype} {op.shape}] {forward}: {'; '.join(codes) or 'passed'}")
    return lines


def contradictions(ops: dict[str, Composed], results) -> list[str]:
    """Return the ops whose gradient exact arithmetic finds to be other than it was made, and count its verdicts."""
    found, counts = [], Counter()
    for result in results:
        exact, op = result.exact, ops[result.case]
        counts[exact.verdict if exact else "not asked"] += 1
        if exact and not op.mistake and exact.verdict == "different" and exact.size > 1e-9:
            found.append(f"exact arithmetic: right {op.name} is different by {exact.size:.2g}")
        if exact and op.mistake and "beyond" not in op.mistake and exact.verdict in ("identical", "rounded"):
            found.append(f"exact arithmetic: wrong {op.name} ({op.mistake}) is {exact.verdict}")
    print("exact arithmetic:", ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common()))
    return found


def main() -> int:
    """Print every wrong verdict and the rates; return 1 if there is one."""
    from gradcheck.spec.discover import load, select
    from tests.rates.verdicts import own_verdicts

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-j", "--jobs", type=int, default=2)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--exact", action="store_true", help="let exact arithmetic judge the truth too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="composed-") as made:
        folder = options.keep or Path(made)
        folder.mkdir(exist_ok=True)
        ops = write(folder, options.count, options.seed)
        cases = [replace(case, exact="auto" if options.exact else None) for case in select(load([str(folder)]))]
        results = own_verdicts(cases, options.jobs).values()
    lines = misjudged(ops, results)
    against = contradictions(ops, results) if options.exact else []
    print("\n".join([*lines, *against]))
    wrong = sum(bool(op.mistake) for op in ops.values())
    blamed = sum(line.startswith("right") for line in lines)
    print(
        f"wrong gradients missed: {len(lines) - blamed} of {wrong}; right ones blamed: {blamed} of {len(ops) - wrong}"
    )
    return 1 if lines or against else 0


if __name__ == "__main__":
    sys.exit(main())
