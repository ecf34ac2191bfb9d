"""Gradients that are wrong on one side of a hidden condition, and right ones with the same conditions.

    python -m tests.rates.branches [--count N] [--seed S] [-j N]

Conditions are put together at random: bands, powers, waves, sums, norms, orders, counts, equalities and sizes, alone
or two at once, in the open, in a tf.function, a tf.cond, a loop or a map.  To these come the ops of tests/branches,
of which those that are wrong were written before there was a search.  Prints how many wrong gradients were found, how
many right ones were blamed, the share of the conditions' sides that were reached, and how small the inputs become.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
FIXED = "tests/branches/spec.yaml"
# Of the wrong ones this share is to be found, and of the sides this share reached.
FOUND, REACHED = 0.95, 0.97
# The share of the first failing input's numbers that may be left in the smallest one, and how many these are.
SHRUNK, NUMBERS = 0.1, 24

BASES = {
    "wave": ("tf.sin(x) + 0.3 * x * x", "tf.cos(x) + 0.6 * x"),
    "bump": ("x + tf.exp(-0.1 * x * x)", "1.0 - 0.2 * x * tf.exp(-0.1 * x * x)"),
    "cubic": ("0.05 * x ** 3 + x", "0.15 * x ** 2 + 1.0"),
    "soft": ("tf.math.softplus(x) + 0.1 * x", "tf.sigmoid(x) + 0.1"),
}
MISTAKES = (
    "2.0 * up * slope(x)",
    "0.0 * up",
    "-up * slope(x)",
    "up * (slope(x) + 0.4)",
    "1.7 * up",
    "0.5 * up * slope(x)",
)
WRAPPERS = ("open", "function", "cond", "map", "nested", "masks")


def number(rng: random.Random, low: float, high: float) -> float:
    return round(rng.choice((-1, 1)) * rng.uniform(low, high), 2)


def elementwise(rng: random.Random) -> str:
    """Return a condition on each number."""
    a, width = number(rng, 1.0, 9.0), rng.choice((0.3, 0.05, 0.008))
    return rng.choice(
        (
            f"(x > {a}) & (x < {a} + {width})",
            f"tf.abs(x - {a}) < {width}",
            f"tf.equal(x, {a})",
            f"x * x + {number(rng, 0.2, 2.0)} * x > {abs(a) * 14:.2f}",
            f"tf.sin({abs(a):.2f} * x) > {rng.choice((0.99, 0.999))}",
            f"tf.exp(0.5 * x) > {abs(a) * 12:.2f}",
            f"tf.math.floormod(x, {abs(a):.2f}) < {width}",
            f"tf.clip_by_value(x, -{abs(a)}, {abs(a)}) >= {abs(a)}",
        )
    )


def of_rows(rng: random.Random) -> str:
    """Return a condition on each row, with the shape [rows, 1]."""
    a, k = abs(number(rng, 1.0, 3.0)), rng.randrange(5)
    return rng.choice(
        (
            f"tf.reduce_sum(x, -1, keepdims=True) > {a * 5:.2f}",
            f"tf.norm(x, axis=-1, keepdims=True) > {a * 4:.2f}",
            f"tf.norm(x, axis=-1, keepdims=True) < {a * 0.1:.3f}",
            f"tf.reduce_max(x, -1, keepdims=True) - tf.reduce_min(x, -1, keepdims=True) > {a * 4:.2f}",
            f"tf.abs(tf.reduce_mean(x, -1, keepdims=True) - {a:.2f}) < 0.02",
            f"x[:, {k}:{k + 1}] * x[:, :1] > {a * 6:.2f}" if k else f"x[:, :1] ** 2 > {a * 12:.2f}",
            f"x[:, {k}:{k + 1}] < x[:, 5:] - {a * 2:.2f}",
            "tf.reduce_all(x[:, 1:] > x[:, :-1], axis=-1, keepdims=True)",
            f"tf.reduce_all(x > {a * 0.2:.2f}, axis=-1, keepdims=True)",
            f"tf.reduce_sum(tf.cast(tf.abs(x) > {a:.2f}, tf.float32), -1, keepdims=True) >= 5.0",
            f"tf.equal(x[:, {k}:{k + 1}], x[:, 5:])",
            f"tf.sort(x, axis=-1)[:, 1:2] > {a * 0.8:.2f}",
            f"tf.equal(tf.argmax(x, -1), {k})[:, None] & (tf.reduce_min(x, -1, keepdims=True) > {a * 0.1:.2f})",
        )
    )


def of_all(rng: random.Random) -> str:
    """Return a condition on all numbers together, or on a size."""
    a = abs(number(rng, 1.0, 3.0))
    return rng.choice(
        (
            f"tf.reduce_sum(x) > {a * 20:.2f}",
            f"tf.reduce_max(x) > {a * 4:.2f}",
            f"tf.reduce_mean(x * x) < {a * 0.02:.3f}",
            f"tf.shape(x)[0] > {rng.randrange(8, 90)}",
        )
    )


def condition(rng: random.Random, wrapper: str) -> str:
    if wrapper == "cond":
        return rng.choice((of_all(rng), f"tf.reduce_any({elementwise(rng)})", f"tf.reduce_any({of_rows(rng)})"))
    first = rng.choice((elementwise, elementwise, of_rows, of_rows, of_all))(rng)
    if rng.random() < 0.2:
        second = f"x[:, 1:2] > -{abs(number(rng, 0.5, 2.0))}"
        return f"({first}) {rng.choice('&&|')} ({second})"
    return first


def rule(wrapper: str, where: str, wrong: str) -> list[str]:
    """Return the lines of grad_fn."""
    right = "up * slope(x)"
    if wrapper == "function":
        return ["return chosen(x, up)"]
    if wrapper == "cond":
        return [f"return tf.cond({where}, lambda: {wrong}, lambda: {right})"]
    if wrapper == "map":
        return [f"wrong = tf.broadcast_to({where}, tf.shape(x))",
                "rows = (x, up, wrong)",
                "return tf.map_fn(row, rows, fn_output_signature=tf.float32)"]  # fmt: skip
    if wrapper == "nested":
        return [f"inner = tf.where(x[:, 1:2] > -0.5, {wrong}, {right})", f"return tf.where({where}, inner, {right})"]
    if wrapper == "masks":
        return [f"w = tf.cast({where}, tf.float32) * tf.cast(x[:, 1:2] > -0.7, tf.float32)",
                f"return w * ({wrong}) + (1.0 - w) * {right}"]  # fmt: skip
    return [f"return tf.where({where}, {wrong}, {right})"]


def source(name: str, rng: random.Random, is_right: bool) -> str:
    """Return the source of an op; a right one takes the same branch in its forward."""
    # Both conditions can hold at once, so that each mistake shows somewhere.
    wrapper = rng.choice(WRAPPERS) if not is_right else "open"
    value, slope = BASES[rng.choice(list(BASES))]
    wrong, where = rng.choice(MISTAKES), condition(rng, wrapper)
    lines = [f"def {name}():", "    def slope(x):", f"        return {slope}", ""]
    if is_right:
        other_value, other_slope = BASES[rng.choice(list(BASES))]
        body = [f"here = {where}", f"y = tf.where(here, {value}, {other_value})"]
        grad = [f"return up * tf.where(here, {slope}, {other_slope})"]
    else:
        body, grad = [f"y = {value}"], rule(wrapper, where, wrong)
    if wrapper == "function":
        lines += [
            "    @tf.function",
            "    def chosen(x, up):",
            f"        return tf.where({where}, {wrong}, up * slope(x))",
            "",
        ]
    if wrapper == "map":
        lines += [
            "    def row(triple):",
            "        x, up, wrong = triple",
            f"        return tf.where(wrong, {wrong}, up * slope(x))",
            "",
        ]
    lines += ["    @tf.custom_gradient", "    def op(x):", *(f"        {line}" for line in body), ""]
    lines += [
        "        def grad(up):",
        *(f"            {line}" for line in grad),
        "",
        "        return y, grad",
        "",
        "    return op",
        "",
        "",
    ]
    return "\n".join(lines)


def written(folder: Path, count: int, seed: int) -> Path:
    """Write a module and a spec of `count` wrong ops and half as many right ones."""
    rng = random.Random(seed)
    ops, cases = ["import tensorflow as tf", "", ""], {}
    inputs = {"x": {"shape": [4, 6]}}
    for k in range(count + count // 2):
        name = f"{'wrong' if k < count else 'right'}_{k}"
        ops.append(source(name, rng, k >= count))
        cases[name] = {"inputs": inputs, **({"expect": ["gradient-mismatch"]} if k < count else {})}
    (folder / "ops.py").write_text("\n".join(ops))
    spec = {"module": "ops.py", "defaults": {"modes": ["eager"], "build": {}}, "cases": cases}
    (folder / "spec.yaml").write_text(json.dumps(spec))
    return folder / "spec.yaml"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=70)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-j", "--jobs", type=int, default=2)
    parser.add_argument("--keep", help="a folder that takes the ops")
    options = parser.parse_args()
    from gradcheck.spec.discover import load, select
    from tests.rates.verdicts import own_verdicts

    with tempfile.TemporaryDirectory() as folder:
        spec = written(Path(folder), options.count, options.seed)
        cases = select(load([FIXED, str(spec)]))
        results = own_verdicts(cases, options.jobs)
        if options.keep:
            shutil.copytree(folder, options.keep, dirs_exist_ok=True)
    return 0 if show(cases, results) else 1


def show(cases, results) -> bool:
    """Print the counts, and every op whose verdict is another; return whether all bounds hold."""
    wrong = found = right = blamed = sides = reached = numbers = first = 0
    for case in cases:
        result = results[case.id]
        errors = [f.label for f in result.findings if f.level == "error"]
        if case.expect:
            wrong += 1
            hit = bool(errors) or bool(set(case.expect) & {f.code for f in result.findings})
            found += hit
            for finding in result.findings:
                numbers += sum(int(np.count_nonzero(item["values"])) for item in finding.counterexample.values())
                first += len(finding.counterexample) * NUMBERS
            if not hit:
                print("missed ", case.id, [f.label for f in result.findings])
        else:
            right += 1
            blamed += bool(errors)
            if errors:
                print("blamed ", case.id, errors)
        sides, reached = sides + result.conditions.sides, reached + result.conditions.reached
        for side in result.conditions.unreached:
            print("unreached", case.id, side.op, side.line, side.side, side.why)
    print(
        f"wrong on one side: {found} of {wrong} found; right: {blamed} of {right} blamed; sides of conditions reached:"
        f" {reached} of {sides}; numbers in the smallest inputs: {numbers} of {first}"
    )
    return found >= FOUND * wrong and not blamed and reached >= REACHED * sides and numbers <= SHRUNK * first


if __name__ == "__main__":
    sys.exit(main())
