"""`gradcheck scaffold`: a new op with its spec and test."""

from __future__ import annotations

from pathlib import Path

import click

from gradcheck.scaffold import KINDS, render, write


@click.command(epilog="Example: gradcheck scaffold swish --kind elementwise --dir myops")
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), default="elementwise", show_default=True, help="What the op is like.")
@click.option("--dir", "folder", type=click.Path(file_okay=False), default=".", help="Where to write.  [default: here]")
@click.option("--ci", type=click.Choice(["github", "none"]), default="none", help="Also write a workflow.")
@click.option("--force", is_flag=True, help="Write over files that exist.")
@click.option("--dry-run", is_flag=True, help="Only say what would be written.")
def scaffold(name: str, kind: str, folder: str, ci: str, force: bool, dry_run: bool) -> int:
    """Write a new op NAME with its spec and pytest file, all passing as they are."""
    texts = render(name, kind, ci == "github")
    place = Path(folder)
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
