"""`gradcheck explain`: what a finding means and how to correct it."""

from __future__ import annotations

import difflib

import click

from gradcheck.cli.completion import complete_code
from gradcheck.errors import UsageError


@click.command(epilog="Example: gradcheck explain gradient-mismatch/sign-flip")
@click.argument("code", required=False, shell_complete=complete_code)
def explain(code: str | None) -> int:
    """Explain a finding CODE (or CODE/CAUSE); without one, list all codes."""
    from gradcheck.findings import CATALOGUE

    if code is None:
        for name, info in CATALOGUE.items():
            click.echo(f"{name:<24} {info.level:<8} {info.meaning}")
        return 0
    name, _, cause = code.partition("/")
    if name not in CATALOGUE:
        raise UsageError(_unknown("finding code", name, list(CATALOGUE)))
    info = CATALOGUE[name]
    if cause and cause not in info.causes:
        raise UsageError(_unknown(f"cause of {name}", cause, list(info.causes)))
    click.echo(f"{name} ({info.level})\n\n{info.meaning}\n\nusual mistake: {info.mistake}\nremedy: {info.remedy}")
    if info.causes:
        click.echo("\ncauses:")
        for key, test in info.causes.items():
            if not cause or key == cause:
                click.echo(f"  {key}: {test}")
    for title, snippet in (("wrong", info.wrong), ("right", info.right)):
        if snippet:
            click.echo(f"\n{title}:\n" + "\n".join(f"  {line}" for line in snippet.splitlines()))
    return 0


def _unknown(what: str, name: str, allowed: list[str]) -> str:
    close = difflib.get_close_matches(name, allowed, n=1)
    hint = f"; did you mean `{close[0]}`?" if close else f"; known: {', '.join(allowed) or 'none'}"
    return f"there is no {what} '{name}'{hint}"
