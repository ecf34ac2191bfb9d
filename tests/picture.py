"""Draw the README's picture from the tool itself (`make readme`)."""

from __future__ import annotations

import io
import os
import re
import tempfile
from pathlib import Path

from rich.console import Console

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


def main() -> None:
    """Write the picture."""
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(re.sub(r"[ \t]+$", "", picture(), flags=re.MULTILINE))


if __name__ == "__main__":
    main()
