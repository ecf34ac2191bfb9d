# SPDX-License-Identifier: Apache-2.0
"""Options that several commands have, each written once."""

from __future__ import annotations

import click

from gradcheck.ways import ALL, EVERY_MODE

expression = click.option("-k", "expression", default="", help="Only cases that match: words with and, or, not.")
tags = click.option("--tag", "tags", multiple=True, help="Only cases with this tag (repeatable).")
exclude = click.option(
    "--exclude", multiple=True, metavar="GLOB", help="Leave out specs that a search finds (repeatable)."
)
modes = click.option("--mode", "modes", multiple=True, type=click.Choice((*EVERY_MODE, ALL)), help="Only these modes.")
devices = click.option("--device", "devices", multiple=True, help="Run on cpu:0, cpu:1, gpu:0, ... or all.")
seed = click.option("--seed", type=click.IntRange(min=0), help="Seed of inputs, upstream and directions.")
samples = click.option("--samples", type=click.IntRange(min=1), help="Independent draws of random inputs.")
coverage = click.option(
    "--coverage", type=click.Choice(["full", "directional", "auto"]), help="Every element, or projections."
)
order = click.option("--order", type=click.Choice(["1", "2"]), help="2 checks the second derivative too.")
show = click.option(
    "--show", type=click.IntRange(min=1), default=5, show_default=True, help="Worst elements per finding."
)
color = click.option(
    "--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="Colour the output."
)
strict = click.option("--strict/--no-strict", help="Warnings fail a case.")
timeout = click.option("--timeout", type=click.FloatRange(0, 1e9, min_open=True), help="Seconds per case.")
