"""What exact arithmetic decides over all collections, and whether it contradicts anything (`make exact`).

    python -m tests.rates.exact [-j N] [PATH ...]

Prints how many cases are decided, the kinds of ops that keep others open, every contradiction with the planted truth,
and the times: of the collections and of an op of 10,000 elements.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections import Counter
from dataclasses import replace

from rich.console import Console
from rich.table import Table

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
FOLDERS = ["specs", "tests/specs", "tests/verdicts"]
LARGE = "tests/rates/exact_large.yaml"
# A smaller difference is one that exact arithmetic sees and the comparison in float32 allows.
SHARPER = 1e-5
# Bounds of the issue: share of decided cases, and seconds of a median case and of 10,000 elements.
DECIDED, MEDIAN_S, LARGE_S = 0.85, 0.3, 5.0


def verdicts(paths, jobs: int):
    """Return the cases, each with its result under `reference: exact`."""
    from gradcheck.spec.discover import load, select
    from tests.rates.verdicts import own_verdicts

    cases = [replace(case, exact=case.exact or "exact") for case in select(load(paths))]
    results = own_verdicts(cases, jobs)
    return [(case, results[case.id]) for case in cases]


def contradiction(case, result) -> str:
    """Return how exact arithmetic and the planted truth contradict each other, nothing if they do not."""
    exact = result.exact
    if exact is None or exact.verdict == "open":
        return ""
    if exact.verdict == "different" and exact.size < SHARPER:
        return ""
    found = {f.code for f in result.findings if f.level == "error"}
    if result.status != "passed" and found != {label.split("/")[0] for label in case.expect}:
        return ", ".join(f.label for f in result.findings if f.level == "error") or "nothing found"
    wrong = [f for f in result.findings if f.code == "gradient-mismatch" and f.level == "error"]
    if exact.verdict == "different" and not wrong and exact.size > 3e-8 and not case.expect:
        return f"different by {exact.size:.2g}, and right"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", default=FOLDERS)
    parser.add_argument("-j", "--jobs", type=int, default=2)
    options = parser.parse_args()
    found = verdicts(options.paths, options.jobs)
    asked = [(case, result) for case, result in found if result.exact is not None]
    counts = Counter(result.exact.verdict for _, result in asked)
    reasons = Counter(result.exact.why for _, result in asked if result.exact.verdict == "open")
    table = Table(title=f"{len(asked)} of {len(found)} cases that get as far as their gradient")
    for name in ("verdict", "cases"):
        table.add_column(name, justify="left" if name == "verdict" else "right")
    for verdict, count in counts.most_common():
        table.add_row(verdict, str(count))
    console = Console(width=110)
    console.print(table)
    for reason, count in reasons.most_common():
        console.print(f"{count:4} open: {reason}", markup=False)
    wrong = [(case.id, said) for case, result in asked if (said := contradiction(case, result))]
    for case_id, said in wrong:
        console.print(f"contradiction: {case_id}: {said}", markup=False)
    # Of all cases, those that crash, return wrong shapes or declare their gradient on purpose included.
    decided = (len(asked) - counts["open"]) / max(len(found), 1)
    seconds = [result.phases_s.get("exact", 0.0) for _, result in asked if result.exact.verdict != "open"]
    large = [result for _, result in verdicts([LARGE], 1)]
    slowest = max(result.phases_s.get("exact", 0.0) for result in large)
    every_large = all(result.exact is not None and result.exact.verdict == "identical" for result in large)
    lines = [
        (f"decided {100 * decided:.1f} % of {len(found)} cases (at least {100 * DECIDED:.0f} %)", decided >= DECIDED),
        (f"{len(wrong)} contradictions (none)", not wrong),
        (f"median {statistics.median(seconds):.3f} s (at most {MEDIAN_S} s)", statistics.median(seconds) <= MEDIAN_S),
        (f"10,000 elements {slowest:.2f} s (at most {LARGE_S} s), all identical", slowest <= LARGE_S and every_large),
    ]
    for line, holds in lines:
        console.print(f"{'holds' if holds else 'FAILS'}: {line}", markup=False)
    return 0 if all(holds for _, holds in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
