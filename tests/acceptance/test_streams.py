"""Streams that are closed or full, folders that are gone: told in gradcheck's words, nothing lost."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

OP = "import tensorflow as tf\n\n\ndef op(x):\n    return tf.sin(x)\n"
SPEC = "{module: ops.py, cases: {c: {op: op, inputs: {x: {shape: [3]}}}}}"


@pytest.fixture
def shell(tmp_path):
    """Run the command line through a shell in a folder with a spec."""
    (tmp_path / "ops.py").write_text(OP)
    (tmp_path / "spec.yaml").write_text(SPEC)

    def run(words: str) -> subprocess.CompletedProcess:
        command = words.replace("gradcheck", f"{sys.executable} -m gradcheck", 1)
        return subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


def test_closed_streams_change_nothing_but_what_is_seen(shell, tmp_path):
    done = shell("gradcheck run spec.yaml --json r.json <&- >&- 2>&-")
    assert done.returncode == 0
    assert json.loads((tmp_path / "r.json").read_text())["cases"][0]["status"] == "passed"


def test_a_full_standard_output_is_told_and_the_report_is_written(shell, tmp_path):
    done = shell("gradcheck run spec.yaml --json r.json >/dev/full")
    assert done.returncode == 2
    assert "cannot write to standard output: No space left on device" in done.stderr
    assert json.loads((tmp_path / "r.json").read_text())["cases"][0]["status"] == "passed"
    assert shell("gradcheck list spec.yaml >/dev/full").returncode == 2


@pytest.mark.parametrize("form", ["console", "jsonl", "github", "json"])
def test_a_reader_that_went_away_loses_nothing(shell, tmp_path, form):
    done = shell(f"(gradcheck run spec.yaml --format {form} --json r.json; echo $? >code) | true")
    assert done.stderr == ""
    assert (tmp_path / "code").read_text() == "0\n"
    assert json.loads((tmp_path / "r.json").read_text())["cases"][0]["status"] == "passed"


@pytest.mark.parametrize("words", ["list spec.yaml", "validate spec.yaml", "explain gradient-mismatch", "--help"])
def test_commands_whose_reader_went_away_end_well(shell, tmp_path, words):
    shell(f"(gradcheck {words}; echo $? >code) | true")
    assert (tmp_path / "code").read_text() == "0\n"


@pytest.mark.parametrize("name", ["gradcheck", "keras", "random", "signal", "pickle"])
def test_files_of_the_current_folder_stand_for_no_library(shell, tmp_path, name):
    (tmp_path / f"{name}.py").write_text("raise SystemError('not the library')\n")
    program = "import sys; sys.path.pop(0); from gradcheck.cli import main; sys.exit(main(['run', 'spec.yaml']))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_colours_nothing_is_bold_either(shell):
    assert "\x1b" in shell("FORCE_COLOR=1 gradcheck run spec.yaml").stdout
    assert "\x1b" not in shell("FORCE_COLOR=1 gradcheck run spec.yaml --color never").stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--json ops.py", "would write over a module"),
        ("--json spec.yaml", "would write over a spec"),
        ("--json a.txt --junit ./a.txt", "--json writes there already"),
    ],
)
def test_a_report_is_not_written_over_something_else(shell, words, told):
    done = shell(f"gradcheck run spec.yaml {words}")
    assert done.returncode == 2
    assert told in done.stderr


def test_a_folder_that_is_gone_is_told(shell, tmp_path):
    (tmp_path / "gone").mkdir()
    done = shell(
        f"gradcheck --version && cd gone && rmdir ../gone && {sys.executable} -m gradcheck run {tmp_path}/spec.yaml"
    )
    assert done.returncode == 2
    assert "the current folder" in done.stderr
    assert "Traceback" not in done.stderr
