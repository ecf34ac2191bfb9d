"""What the shell offers after Tab: case ids and finding codes, without importing TensorFlow."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

_VARIABLE = "_GRADCHECK_COMPLETE"


def complete_case(context: Any, parameter: Any, incomplete: str) -> list[CompletionItem]:
    """Return `FILE::CASE` for a spec file that was typed, else leave it to the shell's own files."""
    file, separator, start = incomplete.partition("::")
    if not separator and not file.endswith((".yaml", ".yml")):
        return [CompletionItem(incomplete, type="file")]
    from gradcheck.errors import GradcheckError
    from gradcheck.spec.discover import load

    try:
        specs = load([file])
    except GradcheckError:
        return []
    names = [case.name for spec in specs for case in spec.cases if case.name.startswith(start)]
    plain = [] if separator else [CompletionItem(file)]
    return [*plain, *(CompletionItem(f"{file}::{name}") for name in names)]


def complete_code(context: Any, parameter: Any, incomplete: str) -> list[CompletionItem]:
    """Return the finding codes, the causes of one once it is typed, and the keys of a spec."""
    from gradcheck.findings import CATALOGUE
    from gradcheck.spec.keys import CASE_KEYS, INPUT_KEYS

    words = [
        *CATALOGUE,
        *dict.fromkeys([*CASE_KEYS, *INPUT_KEYS]),
        *(f"{code}/{cause}" for code, info in CATALOGUE.items() for cause in info.causes),
    ]
    wanted = [w for w in words if w.startswith(incomplete) and ("/" in incomplete or "/" not in w)]
    return [CompletionItem(word) for word in wanted]


@click.command(epilog='Example: eval "$(gradcheck completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the script that completes options, cases and finding codes."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, "gradcheck", _VARIABLE).source())
    return 0
