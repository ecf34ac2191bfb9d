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


def test_the_help_block_is_the_real_one(run_cli):
    assert run_cli("--help").out.strip().splitlines() == block("help").strip().splitlines()


def test_every_exit_code_and_command_of_the_help_is_in_the_readme(run_cli):
    for code in ("0", "1", "2", "3", "5", "130"):
        assert f"| {code} |" in README


def test_the_tables_are_those_of_the_code():
    from tests import mistakes, picture

    assert picture.findings_table() in README
    shipped = (ROOT / "specs" / "README.md").read_text()
    assert mistakes.table() in shipped
    assert len([line for line in mistakes.table().splitlines() if line.startswith("| ")]) == 40


def test_the_picture_shows_what_the_example_prints():
    drawn = (ROOT / ".github" / "gradcheck.svg").read_text()
    assert "gradient-mismatch/constant-factor" in drawn.replace("&#160;", " ").replace("\u00a0", " ")
    assert "font-face" not in drawn
