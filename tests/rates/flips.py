"""Verdicts that change with the seed, over all collections.

    python -m tests.rates.flips [--seeds N] [-j N] [PATH ...]

Runs every case under the seeds 0 to N - 1 and prints each one whose status is not the same under
all of them.  The status alone counts: another draw may well meet more of the mistakes of one op.
A case that a finding is expected of passes when it is found.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from dataclasses import replace

from rich.console import Console
from rich.progress import track

from tests.rates.verdicts import FOLDERS, own_verdicts

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", default=FOLDERS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("-j", "--jobs", type=int, default=2)
    options = parser.parse_args()
    from gradcheck.spec.discover import load, select

    cases, console = select(load(options.paths)), Console(width=150)
    found: dict[str, list] = defaultdict(list)
    for seed in track(range(options.seeds), "seeds", console=Console(stderr=True)):
        for name, result in own_verdicts([replace(case, seed=seed) for case in cases], options.jobs).items():
            found[name].append(result)
    flips = {name: results for name, results in found.items() if len({r.status for r in results}) > 1}
    for name, results in flips.items():
        console.print(name, markup=False)
        for seed, result in enumerate(results):
            labels = ", ".join(dict.fromkeys(f.label for f in result.findings)) or "nothing found"
            console.print(f"  seed {seed}: {result.status} ({labels})", markup=False)
    console.print(f"{len(flips)} of {len(cases)} verdicts change over {options.seeds} seeds")
    return 1 if flips else 0


if __name__ == "__main__":
    sys.exit(main())
