"""Rates of the finite differences: false alarms, missed mistakes, bounds that do not hold, cost.

python -m tests.rates.numerics [--seed N] [--repeats N]
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from gradcheck.differences.assess import Outcome, Tolerance, assess
from gradcheck.differences.ladder import Label
from gradcheck.differences.stencils import slopes_along
from gradcheck.differences.vector_function import Point
from gradcheck.numerics.random_streams import signed_uniform, stream
from tests.rates.functions import FUNCTIONS, TF, derivative

MISTAKES = {"x 2": 2.0, "minus": -1.0, "zeroed": 0.0, "x 1.01": 1.01, "x 1.001": 1.001}
# What the method page of the project reports for the same quantities, rtol 1e-5, float64.
PAGE = {"false alarms": 0.0, "undecided": 0.0008, "x 2": 0.0, "minus": 0.0, "zeroed": 0.0, "x 1.01": 0.0001,
        "x 1.001": 0.0018, "bounds not holding": 0.0, "forwards per element": 7.1}  # fmt: skip
KINKS = {
    "relu": (tf.nn.relu, 0.0), "abs": (tf.abs, 0.0), "clip": (lambda x: tf.clip_by_value(x, -1.0, 1.0), 1.0),
    "slope change 1e-3": (lambda x: x + 1e-3 * tf.nn.relu(x), 0.0), "leaky": (lambda x: tf.maximum(x, 0.2 * x), 0.0),
}  # fmt: skip
JUMPS = {"floor": (tf.floor, 1.0), "sign": (tf.sign, 0.0), "step": (lambda x: tf.cast(x > 0.5, x.dtype), 0.5),
         "round": (tf.round, 0.5)}  # fmt: skip
EDGES = {"sqrt": (tf.sqrt, 0.0), "log": (tf.math.log, 0.0), "asin": (tf.asin, 1.0), "acosh": (tf.acosh, 1.0),
         "x log x": (lambda x: x * tf.math.log(x), 0.0)}  # fmt: skip

# With the slope at the edge as the third.
SMOOTH_EDGES = {"power 3/2": (lambda x: x**1.5, 0.0, 0.0), "and a line": (lambda x: tf.sqrt(x) ** 3 + x, 0.0, 1.0),
                "beside a root": (lambda x: tf.sqrt(1 - x) ** 3 - 2 * x, 1.0, -2.0),
                "two powers": (lambda x: x**1.5 + x**1.25 + 0.5 * x, 0.0, 0.5),
                "bent": (lambda x: tf.exp(x) + 0 * tf.sqrt(x), 0.0, 1.0)}  # fmt: skip


class Counted:
    """Count how many points a function is evaluated at."""

    def __init__(self, f):
        self.f, self.rows = f, 0

    def __call__(self, rows):
        self.rows += len(rows)
        return self.f(tf.constant(rows)).numpy()


def make_point(f, x, rng):
    evaluate = Counted(f)
    y = evaluate(x[None])[0]
    limits = np.full(x.size, np.inf)
    return evaluate, Point(evaluate, x, y, signed_uniform(rng, y.size), -limits, limits)


def smooth_rates(seed: int, repeats: int, rtol: float) -> Counter:
    """Count outcomes over all functions, samplers and mistakes."""
    counts: Counter = Counter()
    for name, (f, samplers) in FUNCTIONS.items():
        for number, sampler in enumerate(samplers):
            for repeat in range(repeats):
                rng = stream(seed, name, str(number), str(repeat))
                one_point(counts, name, f, np.asarray(sampler(rng), float), rng, rtol)
    return counts


def one_point(counts: Counter, name: str, f, x, rng, rtol: float) -> None:
    evaluate, point = make_point(lambda rows: f(TF, rows), x, rng)
    true, size = derivative(name, x, point.cotangent)
    known = np.isfinite(true) & np.isfinite(point.y).all()
    before = evaluate.rows
    found = assess(point, true, Tolerance(rtol), rng)
    counts["forwards"] += evaluate.rows - before
    counts["elements"] += int(known.sum())
    counts["false alarms"] += int((known & found.wrong).sum())
    counts["undecided"] += int((known & (found.outcome == Outcome.UNDECIDED)).sum())
    slopes = slopes_along(point, np.arange(x.size), rng)
    for i, slope in enumerate(slopes):
        if known[i] and slope.label in (Label.SMOOTH, Label.NOISY):
            counts["bounds"] += 1
            counts["bounds not holding"] += int(abs(slope.value - true[i]) > slope.error + 1e-9 * size[i])
    # Mistakes are planted where outputs do not cancel and the element counts for its tensor.
    clear = known & (np.abs(true) > 0.1 * size) & (np.abs(true) > 1e-6 * np.abs(true[known]).max(initial=0.0))
    for mistake, factor in MISTAKES.items():
        counts["planted"] += int(clear.sum()) if mistake == "x 2" else 0
        wrong = assess(point, factor * true, Tolerance(rtol), rng)
        counts[mistake] += int((clear & (wrong.outcome == Outcome.AGREES)).sum())


def label_rates(seed: int, repeats: int) -> dict[str, tuple[int, int, int]]:
    """Return per group (points, right labels, false mismatches) at kinks, jumps and edges."""
    groups = {
        "kink": (KINKS, {Label.KINK}),
        "jump": (JUMPS, {Label.JUMP}),
        "smooth edge": (SMOOTH_EDGES, {Label.EDGE}),
        "edge": (EDGES, {Label.DOMAIN, Label.NONFINITE, Label.SINGULAR}),
    }
    rates = {}
    for group, (functions, labels) in groups.items():
        total = right = blamed = 0
        for name, (f, place, *known) in functions.items():
            for repeat in range(repeats):
                rng = stream(seed, group, name, str(repeat))
                x = np.concatenate(
                    [[place], rng.uniform(0.6, 0.9, 3) if group.endswith("edge") else rng.normal(size=3)]
                )
                _, point = make_point(f, x, rng)
                (slope,) = slopes_along(point, np.array([0]), rng)
                total += 1
                right += slope.label in labels
                middle = slope.value if np.isfinite(slope.value) else 0.0
                middle = known[0] * point.cotangent[0] if known else middle
                found = assess(point, np.r_[middle, 0, 0, 0], Tolerance(1e-5), rng, np.array([0]))
                blamed += bool((found.outcome == Outcome.WRONG).any())
        rates[group] = (total, right, blamed)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--repeats", type=int, default=6)
    options = parser.parse_args()
    counts = smooth_rates(options.seed, options.repeats, 1e-5)
    elements, planted = counts["elements"], counts["planted"]
    table = Table(title=f"{len(FUNCTIONS)} functions, {elements} elements, {planted} planted mistakes of each kind")
    for column in ("rate", "here", "page"):
        table.add_column(column, justify="left" if column == "rate" else "right")
    shares = {
        "false alarms": counts["false alarms"] / elements,
        "undecided": counts["undecided"] / elements,
        "bounds not holding": counts["bounds not holding"] / counts["bounds"],
        **{f"missed {m}": counts[m] / planted for m in MISTAKES},
    }
    for name, share in shares.items():
        table.add_row(name, f"{share:.4%}", f"{PAGE[name.removeprefix('missed ')]:.4%}")
    table.add_row("forwards per element", f"{counts['forwards'] / elements:.1f}", f"{PAGE['forwards per element']:.1f}")
    for group, (total, right, blamed) in label_rates(options.seed, options.repeats).items():
        table.add_row(f"{group}: label right", f"{right / total:.2%}", "100.00%")
        table.add_row(f"{group}: false mismatches", f"{blamed / total:.2%}", "0.00%")
    Console().print(table)


if __name__ == "__main__":
    main()
