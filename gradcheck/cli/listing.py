# SPDX-License-Identifier: Apache-2.0
"""`gradcheck list`: case ids, one per line."""

from __future__ import annotations

from typing import Any

import click

from gradcheck.cli import options as shared
from gradcheck.text import clean_line


@click.command("list", epilog="Example: gradcheck list specs/ -k 'softmax and not wrong'")
@click.argument("paths", nargs=-1)
@shared.expression
@shared.tags
@shared.exclude
@click.option("--shard", metavar="I/N", help="Only the I-th of N parts.")
@click.option("--last-failed", "--lf", is_flag=True, help="Only the cases that did not pass last time.")
def list_cases(**options: Any) -> int:
    """Print the ids of cases, each usable as an argument of `gradcheck run`."""
    from gradcheck.cli.selection import narrowed
    from gradcheck.spec.discover import load, select

    specs = load(options["paths"] or (".",), options["exclude"])
    cases, _ = narrowed(select(specs, options["expression"], options["tags"]), options)
    for case in cases:
        click.echo(clean_line(case.id))
    return 0
