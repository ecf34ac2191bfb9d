"""Ops by all uses: what is expected beside what is observed (`make uses`).

    python -m tests.rates.uses [-j N]

A use is a way in which TensorFlow takes the gradient: a tape in eager, forward mode, Jacobians and mapped ops, a
program that was saved and loaded in a fresh process.
"""

from __future__ import annotations

import argparse
import os
import sys

from rich.console import Console
from rich.table import Table

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
SPEC = "tests/uses/spec.yaml"
USES = ("eager", "forward", "vectorized", "saved")
BYPASSED, REFUSED = "rule-bypassed", "mode-unsupported"
# What each use shows beside nothing at all.
EXPECTED = {
    "doubled": {"eager": "gradient-mismatch"},
    "reversed_gradient": {"forward": BYPASSED, "vectorized": BYPASSED},
    "norm_at_zero": {"forward": BYPASSED, "vectorized": BYPASSED},
    "host": {"vectorized": BYPASSED, "saved": REFUSED},
    "rule_on_the_host": {"saved": REFUSED},
    "clipped": {"forward": BYPASSED, "vectorized": BYPASSED},
    "eager_only": {"vectorized": REFUSED, "saved": REFUSED},
    "Unsaved": {"saved": REFUSED},
}
# What says nothing of the use.
OTHER = ("inconclusive", "sparse-upstream")


def observed(findings) -> dict[str, str]:
    """Return the code that each use shows."""
    return {f.mode: f.code for f in findings if f.code not in OTHER and f.mode in USES}


def rows(jobs: int) -> list[tuple[str, str, str, str]]:
    """Return case, use, what is expected and what was observed."""
    from gradcheck.spec.discover import load, select
    from tests.rates.verdicts import own_verdicts

    cases = select(load([SPEC]))
    results = own_verdicts(cases, jobs)
    found = []
    for case in cases:
        seen = observed(results[case.id].findings)
        found += [(case.name, use, EXPECTED.get(case.name, {}).get(use, ""), seen.get(use, "")) for use in USES]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-j", "--jobs", type=int, default=2)
    found = rows(parser.parse_args().jobs)
    table = Table(title=f"{len(found) // len(USES)} ops by {len(USES)} uses: expected / observed")
    for name in ("op", *USES):
        table.add_column(name)
    for start in range(0, len(found), len(USES)):
        cells = []
        for _, _, wanted, seen in found[start : start + len(USES)]:
            cells.append((seen or "right") if wanted == seen else f"{wanted or 'right'} / {seen or 'right'} !")
        table.add_row(found[start][0], *cells)
    Console().print(table)
    wrong = sum(wanted != seen for _, _, wanted, seen in found)
    print(f"{len(found) - wrong} of {len(found)} as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
