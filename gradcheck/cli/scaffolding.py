# SPDX-License-Identifier: Apache-2.0
"""`gradcheck scaffold`: a new op with its spec and test."""

from __future__ import annotations

from pathlib import Path

import click

from gradcheck.errors import UsageError
from gradcheck.scaffold import KINDS, render, write


@click.command(epilog="Example: gradcheck scaffold swish --kind elementwise --dir myops")
@click.argument("name", required=False)
@click.option("--from", "source", metavar="FILE.py[::OP]", help="Write the spec and the test of ops that exist.")
@click.option("--kind", type=click.Choice(KINDS), default="elementwise", show_default=True, help="What the op is like.")
@click.option("--dir", "folder", type=click.Path(file_okay=False), default=".", help="Where to write.  [default: here]")
@click.option("--ci", type=click.Choice(["github", "none"]), default="none", help="Also write a workflow.")
@click.option("--force", is_flag=True, help="Write over files that exist.")
@click.option("--dry-run", is_flag=True, help="Only say what would be written.")
def scaffold(name: str | None, source: str | None, kind: str, folder: str, ci: str, force: bool, dry_run: bool) -> int:
    """Write a new op NAME with its spec and pytest file, all passing as they are.

    With --from, write the spec and the pytest file of ops that exist, with inputs found by trying.
    """
    place = Path(folder)
    if (name is None) == (source is None):
        raise UsageError("scaffold: give NAME for a new op, or --from FILE.py for ops that exist")
    if source is not None:
        return _from_existing(source, place, force, dry_run)
    assert name is not None
    texts = render(name, kind, ci == "github")
    if dry_run:
        for path in texts:
            click.echo(f"would write {place / path}" + (" (exists)" if (place / path).exists() else ""))
        return 0
    for written in write(place, texts, force):
        click.echo(f"wrote {written}")
    if ci == "github" and not (place / ".git").exists():
        click.echo(f"GitHub reads workflows only at the root of a repository: move {place / '.github'} there")
    click.echo(f"\nnext:\n  gradcheck run {place / name}.yaml\n  python -m pytest {place / f'test_{name}.py'}")
    return 0


def _from_existing(source: str, place: Path, force: bool, dry_run: bool) -> int:
    from gradcheck.runner import Options, results_of
    from gradcheck.scaffold.existing import place_of, render_existing, summary_of
    from gradcheck.scanning.targets import cases_of

    cases = cases_of(source, ())
    path = Path(source.partition("::")[0])
    stem = path.stem
    targets = [place / f"{stem}.yaml", place / f"test_{stem}.py"]
    there = [target for target in targets if target.exists()]
    if there and not force:
        raise UsageError(f"{there[0]} exists; --force writes over it")
    if dry_run:
        for target in targets:
            click.echo(f"would write {target}")
        return 0
    results = results_of(cases, Options())
    absent = next((f for r in results for f in r.findings if f.code == "import-error"), None)
    if "::" in source and absent is not None:
        raise UsageError(f"{source}: {absent.message}{f'; {absent.hint}' if absent.hint else ''}")
    for written in write(place, render_existing(stem, place_of(path, place), cases, results), True):
        click.echo(f"wrote {written}")
    for line in summary_of(results):
        click.echo(f"  {line}")
    click.echo(f"\nnext:\n  gradcheck run {targets[0]}\n  python -m pytest {targets[1]}")
    return 0
