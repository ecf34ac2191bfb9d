# SPDX-License-Identifier: Apache-2.0
"""`gradcheck explain`: what a finding or a key of a spec means, and how to correct it."""

from __future__ import annotations

import difflib

import click

from gradcheck.cli.completion import complete_code
from gradcheck.errors import UsageError


@click.command(epilog="Example: gradcheck explain gradient-mismatch/sign-flip")
@click.argument("code", required=False, shell_complete=complete_code)
def explain(code: str | None) -> int:
    """Explain a finding CODE, CODE/CAUSE or CAUSE, or a key of a spec; without one, list all."""
    click.echo(_listed() if code is None else _explained(code))
    return 0


def _listed() -> str:
    from gradcheck.findings import CATALOGUE
    from gradcheck.spec.keys import CASE_KEYS, FILE_KEYS, INPUT_KEYS

    lines = [f"{name:<24} {info.level:<8} {info.meaning}" for name, info in CATALOGUE.items()]
    keys = ", ".join(dict.fromkeys([*FILE_KEYS, *CASE_KEYS, *INPUT_KEYS]))
    return "\n".join([*lines, "", f"keys of a spec: {keys}"])


def _explained(word: str) -> str:
    """Return what a word means; raises UsageError with the nearest one for a word that is not known."""
    from gradcheck.findings import CATALOGUE
    from gradcheck.spec.keys import CASE_KEYS, FILE_KEYS, INPUT_KEYS

    code, _, cause = word.partition("/")
    if code in CATALOGUE:
        if cause and cause not in CATALOGUE[code].causes:
            raise UsageError(_unknown(f"cause of {code}", cause, list(CATALOGUE[code].causes)))
        return _finding(code, cause)
    owners = [name for name, info in CATALOGUE.items() if word in info.causes]
    places = (("of a file", FILE_KEYS), ("of a case", CASE_KEYS), ("of an input", INPUT_KEYS))
    found = [_key(word, where, keys[word]) for where, keys in places if word in keys]
    if owners or found:
        return "\n\n".join([*found, *(_finding(owner, word) for owner in owners)])
    causes = [f"{name}/{cause}" for name, info in CATALOGUE.items() for cause in info.causes]
    keys = [*FILE_KEYS, *CASE_KEYS, *INPUT_KEYS]
    raise UsageError(_unknown("finding or key", word, [*CATALOGUE, *causes, *keys]))


def _finding(code: str, cause: str) -> str:
    from gradcheck.advice import ADVICE, CAUSES, accepted
    from gradcheck.examples import EXAMPLES
    from gradcheck.findings import CATALOGUE

    info, example = CATALOGUE[code], EXAMPLES[code]
    if cause:
        said = f"{code}/{cause} ({info.level})\n\n{info.causes[cause]}\n\nwhat to do: {CAUSES[cause]}"
        return f"{said}\n\nmore: gradcheck explain {code}"
    parts = [f"{code} ({info.level})", info.meaning, f"usual mistake: {info.mistake}\nremedy: {info.remedy}"]
    parts.append(
        f"why it matters: {ADVICE[code].matters}\nlimits: {ADVICE[code].limits}\nif it is meant: {accepted(code)}"
    )
    causes = [f"  {key}: {test}" for key, test in info.causes.items()]
    parts += ["causes:\n" + "\n".join(causes)] if causes else []
    parts += [f"wrong:\n{_indented(example.wrong)}", f"right:\n{_indented(example.right)}"]
    parts.append(f"in a spec: cases: {{op: {example.case}}}")
    parts += [f"and right: cases: {{op: {example.right_case}}}"] if example.right_case else []
    return "\n\n".join(parts)


def _key(name: str, where: str, key: object) -> str:
    from gradcheck.spec.keys import Key

    assert isinstance(key, Key)
    facts = f"default: {key.default}\nexample: {key.example}\nsince: {key.since}"
    return f"{name}, a key {where}: {key.kind}\n\n{key.meaning}\n\n{facts}"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.strip().splitlines())


def _unknown(what: str, name: str, allowed: list[str]) -> str:
    ends = {word.rpartition("/")[2]: word for word in reversed(allowed)}
    close = difflib.get_close_matches(name, [*allowed, *ends], n=1)
    hint = f"; did you mean `{ends.get(close[0], close[0])}`?" if close else "; `gradcheck explain` lists all"
    return f"there is no {what} '{name}'{hint}"
