"""`gradcheck list`: case ids, one per line."""

from __future__ import annotations

import click


@click.command("list", epilog="Example: gradcheck list specs/ -k 'softmax and not wrong'")
@click.argument("paths", nargs=-1, required=True)
@click.option("-k", "expression", default="", help="Only cases that match: words with and, or, not.")
@click.option("--tag", "tags", multiple=True, help="Only cases with this tag (repeatable).")
def list_cases(paths: tuple[str, ...], expression: str, tags: tuple[str, ...]) -> int:
    """Print the ids of cases, each usable as an argument of `gradcheck run`."""
    from gradcheck.spec.discover import load, select

    for case in select(load(paths), expression, tags):
        click.echo(case.id)
    return 0
