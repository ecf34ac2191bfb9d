"""The README is true: its example gives the output it shows, its help block is the real one."""

from __future__ import annotations

import re

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


def block(name):
    return re.search(rf"<!-- {re.escape(name)} -->\n```\w*\n(.*?)```", README, re.DOTALL).group(1)


def without_times(text):
    text = re.sub(r"  \d+\.\d s$", "", text, flags=re.MULTILINE)
    return [line.rstrip() for line in text.splitlines() if line.strip() and " in " not in line[:40]]


def test_the_example_gives_the_output_that_is_shown(run_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ops.py").write_text(block("example: ops.py"))
    (tmp_path / "spec.yaml").write_text(block("example: spec.yaml"))
    told = run_cli("run", "spec.yaml", "--show", "2")
    assert told.code == 1
    shown = without_times(block("example: output"))
    assert [line for line in without_times(told.out) if "failed" not in line] == shown
    (tmp_path / "ops.py").write_text(block("example: ops.py").replace("3.0", "2.0"))
    assert run_cli("run", "spec.yaml").code == 0


def test_it_can_be_read_in_one_go():
    assert len(README.splitlines()) <= 150


def test_every_command_that_it_names_exists(run_cli):
    commands = set(re.findall(r"(?:^|`)gradcheck ([a-z]+)", README, re.MULTILINE)) - {"tells", "is"}
    assert {"run", "record", "scaffold", "scan", "explain"} <= commands
    for command in commands:
        assert run_cli(command, "--help").code == 0, command


def test_its_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / link).exists(), link


def test_the_tables_are_those_of_the_code():
    from tests import mistakes

    shipped = (ROOT / "specs" / "README.md").read_text()
    assert mistakes.table() in shipped
    assert len([line for line in mistakes.table().splitlines() if line.startswith("| ")]) == 40


def test_the_picture_shows_what_the_example_prints():
    drawn = (ROOT / ".github" / "gradcheck.svg").read_text()
    assert "gradient-mismatch/constant-factor" in drawn.replace("&#160;", " ").replace("\u00a0", " ")
    assert "font-face" not in drawn
