"""`gradcheck schema`: the JSON Schema of the spec file."""

from __future__ import annotations

import json

import click


@click.command(epilog="Example: gradcheck schema > gradcheck.schema.json")
def schema() -> int:
    """Print the JSON Schema (draft 7) of spec files, for editors."""
    from gradcheck.spec.schema import SCHEMA

    click.echo(json.dumps(SCHEMA, indent=2))
    return 0
