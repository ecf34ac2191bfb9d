# SPDX-License-Identifier: Apache-2.0
"""`gradcheck schema`: the JSON Schema of the spec file, or of the report."""

from __future__ import annotations

import json

import click


@click.command(epilog="Example: gradcheck schema > gradcheck.schema.json")
@click.option("--report", is_flag=True, help="Print the schema of the JSON report instead.")
def schema(report: bool) -> int:
    """Print the JSON Schema (draft 7) of spec files, for editors."""
    from gradcheck.reports.schema import REPORT_SCHEMA
    from gradcheck.spec.schema import described

    click.echo(json.dumps(REPORT_SCHEMA if report else described(), indent=2))
    return 0
