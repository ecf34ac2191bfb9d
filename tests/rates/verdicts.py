"""Verdicts on right and wrong gradients, beside TensorFlow's own checker on the same ops.

    python -m tests.rates.verdicts [-j N] [PATH ...]

Prints, per dtype, how many wrong gradients were found and had their cause named, and how many
right ones were blamed or left undecided; then the same for `tf.test.compute_gradient`, which
counts as finding a mistake if its error is above 1e-3 or if it raises.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import sys
from collections import Counter
from dataclasses import replace

from rich.console import Console
from rich.table import Table

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
FOLDERS = ["tests/verdicts", "tests/specs", "specs", "tests/others/tensorflow.yaml"]
# Other people's ops, where the package is installed.
OTHERS = {"tensorflow_probability": "tests/others/probability.yaml"}
PEER_LIMIT = 1e-3


def own_verdicts(cases, jobs: int):
    """Return the results of gradcheck by case id."""
    from gradcheck.events import CaseFinished
    from gradcheck.runner import Options, run

    return {
        event.result.id: event.result for event in run(cases, Options(jobs=jobs)) if isinstance(event, CaseFinished)
    }


def peer_verdict(case) -> str:
    """Return `found`, `passed`, or `cannot` for what tf.test.compute_gradient takes no part in."""
    import tensorflow as tf

    from gradcheck.backend.tensorflow.failures import Stopped
    from gradcheck.backend.tensorflow.loading import load
    from gradcheck.measure.prepare import prepare

    try:
        lab = prepare(load(case), case.dtypes[0] if case.dtypes else None, 0, ("cpu:0",))
    except Stopped:
        return "cannot"
    if len(lab.sources) != len(lab.leaves) or len(lab.outputs) != 1:
        return "cannot"
    try:
        theory, numeric = tf.test.compute_gradient(
            lambda *xs: lab.operation(list(xs))[0], [tf.constant(v) for v in lab.values]
        )
    except Exception:
        return "found"
    pairs = zip(theory, numeric, strict=True)
    error = max((float(abs(a - b).max(initial=0.0)) for a, b in pairs), default=0.0)
    return "found" if not error <= PEER_LIMIT else "passed"


def dtype_of(case) -> str:
    """Return the dtype a case is counted under."""
    names = [i.dtype for i in case.inputs.values() if i.dtype.startswith(("float", "bfloat", "complex"))]
    return names[0] if names else "float32"


UNSAFE = ("crashed", "timeout")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*", default=FOLDERS)
    parser.add_argument("-j", "--jobs", type=int, default=2)
    options = parser.parse_args()
    from gradcheck.spec.discover import load, select

    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    paths = list(options.paths)
    if paths == FOLDERS:
        paths += [path for package, path in OTHERS.items() if importlib.util.find_spec(package) is not None]
    cases = select(load(paths))
    results = own_verdicts(cases, options.jobs)
    counts: Counter = Counter()
    disagreements = []
    for case in cases:
        result, dtype = results[case.id], dtype_of(case)
        errors = [f for f in result.findings if f.level == "error"]
        wrong = any(want.split("/")[0] not in ("inconclusive", "forward-nonfinite") for want in case.expect)
        kind = "wrong" if wrong else "right"
        counts[kind, dtype, "cases"] += 1
        peer = "cannot" if any(w.split("/")[0] in UNSAFE for w in case.expect) else peer_verdict(case)
        counts[kind, dtype, f"peer {peer}"] += 1
        if wrong:
            found = bool(errors) or bool(set(case.expect) & {f.label for f in result.findings})
            counts[kind, dtype, "found"] += found
            counts[kind, dtype, "named"] += result.status == "passed"
        else:
            counts[kind, dtype, "blamed"] += bool(errors)
            counts[kind, dtype, "undecided"] += any(f.code == "inconclusive" for f in result.findings)
        if result.status != "passed":
            disagreements.append((case.id, ", ".join(f.label for f in result.findings)))
    show(counts, disagreements)
    against = contradictions(cases, options.jobs)
    for line in against:
        print(line)
    print(f"contradictions between these verdicts and exact arithmetic: {len(against)}")
    return 1 if disagreements or against else 0


def contradictions(cases, jobs: int) -> list[str]:
    """Return the cases of which exact arithmetic says something else than the planted truth."""
    from tests.rates.exact import contradiction

    asked = [replace(case, exact=case.exact or "auto") for case in cases]
    results = own_verdicts(asked, jobs)
    found = ((case, contradiction(case, results[case.id])) for case in asked)
    return [f"exact arithmetic contradicts: {case.id}: {said}" for case, said in found if said]


def show(counts: Counter, disagreements) -> None:
    """Print both tables and every case whose verdict is not the wanted one."""
    dtypes = sorted({dtype for _, dtype, _ in counts})
    wrong = Table(title="wrong gradients")
    for name in ("dtype", "cases", "found", "code and cause named", "compute_gradient finds", "cannot be asked"):
        wrong.add_column(name, justify="left" if name == "dtype" else "right")
    right = Table(title="right gradients")
    for name in ("dtype", "cases", "blamed", "undecided somewhere", "compute_gradient blames", "cannot be asked"):
        right.add_column(name, justify="left" if name == "dtype" else "right")
    for table, kind, keys in (
        (wrong, "wrong", ("cases", "found", "named", "peer found", "peer cannot")),
        (right, "right", ("cases", "blamed", "undecided", "peer found", "peer cannot")),
    ):
        for dtype in dtypes:
            table.add_row(dtype, *(str(counts[kind, dtype, key]) for key in keys))
        table.add_row("all", *(str(sum(counts[kind, dtype, key] for dtype in dtypes)) for key in keys))
    console = Console(width=110)
    console.print(wrong)
    console.print(right)
    for case, labels in disagreements:
        console.print(f"not as wanted: {case}: {labels or 'nothing found'}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
