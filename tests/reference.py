"""Write the pages of the reference that are made from the code: keys of a spec, findings, the command line, the report.

python -m tests.reference
"""

from __future__ import annotations

from typing import Any

import click

from gradcheck.advice import ADVICE, CAUSES, accepted
from gradcheck.cli import COMMANDS, cli
from gradcheck.examples import EXAMPLES
from gradcheck.findings import CATALOGUE
from gradcheck.reports.schema import REPORT_SCHEMA
from gradcheck.spec.keys import CASE_KEYS, FILE_KEYS, INPUT_KEYS
from tests.pages import PAGES

MADE = "<!-- Made by `make reference` from the code; edit there. -->\n\n"


def _keys(title: str, keys, indent: str) -> str:
    parts = [f"## {title}\n"]
    for name, key in keys.items():
        parts.append(
            f"### `{name}`\n\n{key.meaning}\n\n| takes | default | since |\n|---|---|---|\n"
            f"| {key.kind} | {key.default} | {key.since} |\n\n"
            f"```text\n{indent}{key.example}\n```\n"
        )
    return "\n".join(parts)


def spec() -> str:
    """Return the page of the spec's keys."""
    head = (
        "# The spec\n\nA spec is a YAML file: a module, and cases that name its ops and their inputs."
        " `gradcheck schema` prints its JSON Schema for editors, `gradcheck explain KEY` what is written here."
        " Files in the folder `specs/` of the project are examples of all of it.\n\n"
        "YAML is read as version 1.2 has it: `yes` and `no` are words, `1e-3` is a number.\n"
    )
    file, case, given = (
        _keys("Keys of a file", FILE_KEYS, ""),
        _keys("Keys of a case, and of `defaults`", CASE_KEYS, ""),
        _keys("Keys of an input", INPUT_KEYS, "x: "),
    )
    return f"{head}\n{file}\n{case}\n{given}"


def findings() -> str:
    """Return the page that lists all findings."""
    rows = [f"| [`{code}`](findings/{code}.md) | {info.level} | {info.meaning} |" for code, info in CATALOGUE.items()]
    return (
        "# Findings\n\nEvery finding has a code; some have a cause, written `code/cause`. An error fails the case, a"
        " warning does not (but with `--strict`). The level is"
        " the usual one: a check that cannot be sure makes it a warning.\n\n"
        "| code | level | found when |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    )


def finding(code: str) -> str:
    """Return the page of one finding."""
    info, example, advice = CATALOGUE[code], EXAMPLES[code], ADVICE[code]
    causes = "\n".join(f"| `{cause}` | {test} | {CAUSES[cause]} |" for cause, test in info.causes.items())
    parts = [
        f"# {code}\n\n*{info.level}*: {info.meaning}.",
        f"**The usual mistake:** {info.mistake}.\n\n**What to do:** {info.remedy}.\n\n"
        f"**Why it matters:** {advice.matters}",
        f'## Wrong\n\n```python title="ops.py"\n{example.wrong.strip()}\n```',
        f'## Right\n\n```python title="ops.py"\n{example.right.strip()}\n```',
        f"In a spec: `cases: {{op: {example.case}}}`"
        + (f"; the right one: `cases: {{op: {example.right_case}}}`" if example.right_case else "")
        + ".",
    ]
    parts += (
        [f"## Causes\n\n| cause | the test that decides it | what to do |\n|---|---|---|\n{causes}"] if causes else []
    )
    parts.append(f"## Limits of the check\n\n{advice.limits}\n\n## If it is meant\n\n{accepted(code)}")
    return "\n\n".join(parts) + "\n"


def command_line() -> str:
    """Return the page of all commands, as their help says it."""
    context = click.Context(cli, info_name="gradcheck", max_content_width=88, terminal_width=88)
    parts = [f"# The command line\n\n```text\n{cli.get_help(context)}\n```"]
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context, max_content_width=88, terminal_width=88)
        parts.append(f"## gradcheck {name}\n\n```text\n{command.get_help(inner)}\n```")
    return "\n\n".join(parts) + "\n"


def _row(name: str, schema: dict[str, Any]) -> str:
    return f"| `{name}` | {schema['description']} |\n"


def report() -> str:
    """Return the page of the JSON report."""
    definitions = REPORT_SCHEMA["properties"]["cases"]["items"]["properties"]
    finding_keys = definitions["findings"]["items"]["properties"]
    lists = [
        ("The report", REPORT_SCHEMA["properties"]),
        ("A case", definitions),
        ("A finding", finding_keys),
        ("An element", finding_keys["elements"]["items"]["properties"]),
    ]
    said = [
        f"## {title}\n\n| key | is |\n|---|---|\n" + "".join(_row(*pair) for pair in keys.items())
        for title, keys in lists
    ]
    return (
        "# The JSON report\n\n`--json FILE` writes it, `--format json` prints it; `gradcheck schema --report` prints"
        " its JSON Schema. Not-a-number and infinities are the strings `nan`, `inf`, `-inf`. Keys may be added; none is"
        " renamed without another `schema_version`. `--format jsonl` prints an event a line while the run goes on.\n\n"
        + "\n".join(said)
    )


def pages() -> dict[str, str]:
    """Return the made pages by their path below the pages."""
    made = {
        "reference/spec.md": spec(),
        "reference/findings.md": findings(),
        "reference/command-line.md": command_line(),
        "reference/json.md": report(),
    }
    made |= {f"reference/findings/{code}.md": finding(code) for code in CATALOGUE}
    return {path: MADE + text for path, text in made.items()}


def main() -> None:
    """Write them."""
    for path, text in pages().items():
        (PAGES / path).parent.mkdir(parents=True, exist_ok=True)
        (PAGES / path).write_text(text)


if __name__ == "__main__":
    main()
