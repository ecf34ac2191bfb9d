# SPDX-License-Identifier: Apache-2.0
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


# For bash a colon ends a word, and an id (FILE::CASE) has two: the words are taken from the line, and what
# stands before the last colon is left out of the answers.
_BASH = f"""_gradcheck_completion() {{
    local line="${{COMP_LINE:0:COMP_POINT}}" words current prefix="" kind value
    read -ra words <<< "$line"
    [[ $line == *" " ]] && words+=("")
    current="${{words[${{#words[@]}}-1]}}"
    [[ $current == *:* && $COMP_WORDBREAKS == *:* ]] && prefix="${{current%"${{current##*:}}"}}"
    COMPREPLY=()
    while IFS=, read -r kind value; do
        case $kind in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("${{value#"$prefix"}}") ;;
        esac
    done < <(env COMP_WORDS="$line" COMP_CWORD=$((${{#words[@]}} - 1)) {_VARIABLE}=bash_complete "${{words[0]}}")
    return 0
}}
complete -o nosort -F _gradcheck_completion gradcheck
"""


@click.command(
    epilog='bash: eval "$(gradcheck completion bash)", zsh: the same with zsh, fish: gradcheck completion fish | source'
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the script that completes options, cases and finding codes."""
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(context.find_root().command, {}, "gradcheck", _VARIABLE).source()
    click.echo(_BASH if shell == "bash" else script)
    return 0
