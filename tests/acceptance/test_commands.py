"""The commands that need no TensorFlow: help, list, validate, schema, explain; and doctor."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from gradcheck.spec.schema import SCHEMA
from tests.conftest import ROOT

COMMANDS = ["run", "list", "validate", "schema", "explain", "doctor"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_with_an_example(run_cli, command):
    told = run_cli(command, "--help")
    assert told.code == 0
    assert f"Example: gradcheck {command}" in " ".join(told.out.split())


@pytest.mark.parametrize("args", [["--help"], ["list", "specs"], ["validate", "specs"], ["schema"], ["explain"]])
def test_no_tensorflow_is_imported(args):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "gradcheck", *args],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    assert "tensorflow" not in done.stderr
    assert "jsonschema" not in done.stderr or args[0] in ("list", "validate")


def test_list_prints_ids_that_run_takes(run_cli):
    told = run_cli("list", ROOT / "specs" / "activations.yaml", "-k", "square")
    assert told.code == 0
    assert [line.rpartition("::")[2] for line in told.out.split()] == ["square", "square_factor"]


def test_validate_counts_and_lists_every_problem(run_cli, write_spec):
    assert "valid" in run_cli("validate", ROOT / "specs").out
    text = (
        "module: gone.py\ncases:\n  a:\n    inputs: {x: {shape: [-1]}, y: {shape: [2], dtype: flaot32}}\n"
        "    order: 3\n    modes: [eagr]\n"
    )
    told = run_cli("validate", write_spec(text))
    assert told.code == 2
    assert sum(line.count("spec.yaml:") for line in told.err.splitlines()) == 5
    assert "Traceback" not in told.err


def test_the_printed_schema_is_the_one_that_is_used(run_cli):
    def bare(value):
        """Return a schema without its words."""
        if isinstance(value, dict):
            return {k: bare(v) for k, v in value.items() if not (k == "description" and isinstance(v, str))}
        return [bare(item) for item in value] if isinstance(value, list) else value

    printed = json.loads(run_cli("schema").out)
    assert bare(printed) == json.loads(json.dumps(SCHEMA))
    assert printed["definitions"]["drawn"]["properties"]["domain"]["description"].startswith("Where the op is defined")
    jsonschema.Draft7Validator.check_schema(printed)
    jsonschema.Draft7Validator.check_schema(json.loads(run_cli("schema", "--report").out))


def test_doctor_tells_versions_and_whether_xla_works(run_cli):
    told = run_cli("doctor")
    assert told.code == 0
    for word in ("gradcheck", "tensorflow", "cpu:0", "xla"):
        assert word in told.out


def test_unknown_commands_and_options_exit_with_two(run_cli):
    assert run_cli("rnu").code == 2
    assert run_cli("run", "--nonsense").code == 2
    assert run_cli("validate").code == 2


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("gradcheck run specs/several.yaml::add", "plain,specs/several.yaml::add_bias"),
        ("gradcheck explain gradient-mis", "plain,gradient-mismatch"),
        ("gradcheck explain gradient-mismatch/sign", "plain,gradient-mismatch/sign-flip"),
    ],
)
def test_the_shell_completes_cases_and_codes(words, offered):
    environment = {
        **os.environ, "_GRADCHECK_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "2",
        "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    code = "import sys; sys.argv[0] = 'gradcheck'; from gradcheck.__main__ import entry; entry()"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment,
        check=False,
    )  # fmt: skip
    assert offered in done.stdout
    assert "tensorflow" not in done.stderr


def test_the_completion_script_is_printed(run_cli):
    for shell in ("bash", "zsh", "fish"):
        assert "_GRADCHECK_COMPLETE" in run_cli("completion", shell).out


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("line", "answers"),
    [
        ("gradcheck run spec.yaml::sq", ["square"]),
        ("gradcheck explain gradient-mism", ["gradient-mismatch"]),
        ("gradcheck val", ["validate"]),
    ],
)
def test_bash_completes_cases_though_a_colon_ends_a_word_there(tmp_path, run_cli, line, answers):
    (tmp_path / "ops.py").write_text("")
    (tmp_path / "spec.yaml").write_text(
        "module: ops.py\ncases: {square: {inputs: {x: 1.0}}, cube: {inputs: {x: 1.0}}}\n"
    )
    script = run_cli("completion", "bash").out + (
        f"COMP_LINE='{line}'; COMP_POINT={len(line)}; _gradcheck_completion; printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == answers


def test_settings_of_the_project_hold_for_every_command(tmp_path, run_cli, monkeypatch):
    for folder in ("specs", "specs/old"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "ops.py").write_text("")
        (tmp_path / folder / "spec.yaml").write_text("module: ops.py\ncases: {op: {inputs: {x: 1.0}}}\n")
    (tmp_path / "pyproject.toml").write_text('[tool.gradcheck]\npaths = ["specs"]\nexclude = ["old"]\n')
    monkeypatch.chdir(tmp_path)
    assert run_cli("list").out.split() == ["specs/spec.yaml::op"]
    assert "1 spec, 1 case" in run_cli("validate").out
    assert len(run_cli("list", ".").out.split()) == 1
    monkeypatch.setenv("GRADCHECK_EXCLUDE", "none")
    assert len(run_cli("list").out.split()) == 2
    (tmp_path / "pyproject.toml").write_text("[tool.gradcheck]\njobz = 2\n")
    told = run_cli("list")
    assert told.code == 2
    assert "did you mean `jobs`?" in told.err
