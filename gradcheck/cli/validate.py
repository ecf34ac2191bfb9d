# SPDX-License-Identifier: Apache-2.0
"""`gradcheck validate`: check specs without running anything."""

from __future__ import annotations

import click

from gradcheck.cli import options as shared


@click.command(epilog="Example: gradcheck validate specs/")
@click.argument("paths", nargs=-1, required=True)
@shared.exclude
@click.option("-q", "--quiet", is_flag=True, help="Print problems only.")
def validate(paths: tuple[str, ...], exclude: tuple[str, ...], quiet: bool) -> int:
    """Check spec files only: nothing is imported, TensorFlow is not needed."""
    from gradcheck.errors import NothingSelected
    from gradcheck.spec.discover import load

    specs = load(paths, exclude)
    if not specs:
        raise NothingSelected(f"no spec files in {', '.join(paths)}")
    if not quiet:
        cases = sum(len(spec.cases) for spec in specs)
        click.echo(f"{len(specs)} spec{'s' * (len(specs) != 1)}, {cases} case{'s' * (cases != 1)}: valid")
    return 0
