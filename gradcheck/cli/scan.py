# SPDX-License-Identifier: Apache-2.0
"""`gradcheck scan`: list the custom gradients of a source tree."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from gradcheck.text import clean

if TYPE_CHECKING:
    from gradcheck.scanning.coverage import Scan

UNCOVERED = "not covered"


@click.command(epilog="Example: gradcheck scan src/ --fail-under 80")
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "--specs",
    multiple=True,
    metavar="PATH",
    help="Where specs and recordings are (repeatable).  [default: PATHS and the current folder]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--fail-under", type=click.FloatRange(0, 100), metavar="PERCENT", help="Exit 1 if fewer of 100 are covered."
)
def scan(paths: tuple[str, ...], specs: tuple[str, ...], as_json: bool, fail_under: float | None) -> int:
    """List every custom gradient below PATHS without importing anything.

    Each with its file and line, its kind, and the case or recording that reaches it. A case reaches the
    function that it names and what this function uses by name.
    """
    from gradcheck.scanning.coverage import scan as scanned

    found = scanned(paths, specs or (*paths, "."))
    for problem in found.unread:
        click.echo(f"not read: {clean(problem)}", err=True)
    click.echo(_json(found) if as_json else "\n".join(_lines(found)))
    return 1 if fail_under is not None and found.percent < fail_under else 0


def _lines(found: Scan) -> list[str]:
    rows = [(f"{s.file}:{s.line}", s.name, s.kind, s.how, s.covered or UNCOVERED) for s in found.sites]
    widths = [max(len(row[i]) for row in rows) for i in range(4)] if rows else []
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]) for row in rows
    ]
    return [*(clean(line) for line in lines), summary(found)]


def summary(found: Scan) -> str:
    """Return how many custom gradients there are and how many are covered."""
    count, covered = len(found.sites), sum(bool(site.covered) for site in found.sites)
    files = f"{found.files} file{'s' * (found.files != 1)}"
    if not count:
        return f"no custom gradient in {files}"
    return f"{count} custom gradient{'s' * (count != 1)} in {files}, {covered} covered ({found.percent:.0f} %)"


def _json(found: Scan) -> str:
    covered = sum(bool(site.covered) for site in found.sites)
    totals = {"files": found.files, "sites": len(found.sites), "covered": covered, "percent": round(found.percent, 2)}
    data = {"sites": [asdict(site) for site in found.sites], "summary": totals, "not_read": list(found.unread)}
    return json.dumps(data, indent=2)
