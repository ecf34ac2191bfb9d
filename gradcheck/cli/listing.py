"""`gradcheck list`: case ids, one per line."""

from __future__ import annotations

from typing import Any

import click


@click.command("list", epilog="Example: gradcheck list specs/ -k 'softmax and not wrong'")
@click.argument("paths", nargs=-1)
@click.option("-k", "expression", default="", help="Only cases that match: words with and, or, not.")
@click.option("--tag", "tags", multiple=True, help="Only cases with this tag (repeatable).")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out specs that a search finds (repeatable).")
@click.option("--shard", metavar="I/N", help="Only the I-th of N parts.")
@click.option("--last-failed", "--lf", is_flag=True, help="Only the cases that did not pass last time.")
def list_cases(**options: Any) -> int:
    """Print the ids of cases, each usable as an argument of `gradcheck run`."""
    from gradcheck.cli.selection import narrowed
    from gradcheck.spec.discover import load, select

    specs = load(options["paths"] or (".",), options["exclude"])
    cases, _ = narrowed(select(specs, options["expression"], options["tags"]), options)
    for case in cases:
        click.echo(case.id)
    return 0
