"""Draw the README's picture and table from the tool itself (`make readme`)."""

from __future__ import annotations

import io
import os
import re
import tempfile
from pathlib import Path

from rich.console import Console

from gradcheck.findings import CATALOGUE
from gradcheck.reports.console import ConsoleReport, View
from gradcheck.runner import Options, run
from gradcheck.spec.discover import load, select

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PICTURE = ROOT / ".github" / "gradcheck.svg"


def example(name: str) -> str:
    """Return a block of the README."""
    found = re.search(rf"<!-- example: {re.escape(name)} -->\n```\w*\n(.*?)```", README.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def picture() -> str:
    """Return the SVG of a real run of the README's example."""
    console = Console(record=True, width=86, file=io.StringIO(), highlight=False, force_terminal=True, markup=False)
    quiet = Console(file=io.StringIO())
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("ops.py").write_text(example("ops.py"))
        Path("spec.yaml").write_text(example("spec.yaml"))
        report = ConsoleReport(console, quiet, View(show=3))
        for event in run(select(load(["spec.yaml"])), Options()):
            report.handle(event)
        os.chdir(ROOT)
    drawn = console.export_svg(title="gradcheck run spec.yaml", unique_id="gradcheck")
    # The reader's own monospaced font will do; the picture loads nothing.
    return re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)


def findings_table() -> str:
    """Return the table of findings."""
    rows = ["| code | level | found when |", "|---|---|---|"]
    for code, info in CATALOGUE.items():
        causes = f" Causes: {', '.join(f'`{cause}`' for cause in info.causes)}." if info.causes else ""
        rows.append(f"| `{code}` | {info.level} | {info.meaning}.{causes} |")
    return "\n".join(rows) + "\n"


def with_table(text: str) -> str:
    """Return the README with its table of findings as it is now."""
    before, rest = text.split("<!-- findings -->\n")
    return (
        before
        + "<!-- findings -->\n"
        + findings_table()
        + "<!-- end of findings -->"
        + rest.split("<!-- end of findings -->")[1]
    )


def main() -> None:
    """Write both."""
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(re.sub(r"[ \t]+$", "", picture(), flags=re.MULTILINE))
    README.write_text(with_table(README.read_text()))


if __name__ == "__main__":
    main()
