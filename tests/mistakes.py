"""Write the table of classic mistakes into specs/README.md, from the spec that checks them (`make mistakes`)."""

from __future__ import annotations

import re
from pathlib import Path

from gradcheck.spec.discover import load

ROOT = Path(__file__).parent.parent
SPEC = ROOT / "tests" / "specs" / "mistakes" / "spec.yaml"
README = ROOT / "specs" / "README.md"
START, END = "<!-- mistakes -->\n", "<!-- end of mistakes -->"


def table() -> str:
    """Return the table: number, what the code does, what gradcheck says, the case."""
    (spec,) = load([str(SPEC)])
    rows = ["| # | the code | gradcheck says | case |", "|---|---|---|---|"]
    for case in sorted(spec.cases, key=number):
        found = ", ".join(f"`{code}`" for code in case.expect) or "passes"
        rows.append(f"| {number(case)} | {case.reason} | {found} | `{case.name}` |")
    return "\n".join(rows) + "\n"


def number(case) -> int:
    """Return the number of a mistake, which its tag holds."""
    return int(re.fullmatch(r"mistake-(\d+)", case.tags[0])[1])


def main() -> None:
    """Replace the table in the README."""
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(START)
    README.write_text(before + START + table() + END + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
