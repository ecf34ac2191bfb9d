"""What the GitHub action and the pre-commit hooks run, run here."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
OPS = """import tensorflow as tf


@tf.custom_gradient
def op(x):
    return tf.sin(x), lambda u: -tf.convert_to_tensor(u) * tf.cos(x)
"""
SPEC = "module: ops.py\ncases:\n  op: {inputs: {x: {shape: [3]}}}\n"


@pytest.fixture
def project(tmp_path):
    """Write a spec with a wrong gradient; the commands find `gradcheck` as on a machine that has it installed."""
    (tmp_path / "ops.py").write_text(OPS)
    (tmp_path / "spec.yaml").write_text(SPEC)

    def run(command: list[str], **variables: str) -> subprocess.CompletedProcess:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, "PATH": path, **variables}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("paths", ["spec.yaml", "right.yaml\nspec.yaml\n"])
def test_the_action_annotates_reports_and_fails(project, tmp_path, paths):
    (tmp_path / "right.yaml").write_text("module: ops.py\ncases:\n  op: {skip: no time, inputs: {x: {shape: [3]}}}\n")
    action = yaml.safe_load((ROOT / ".github/actions/gradcheck/action.yml").read_text())
    step = action["runs"]["steps"][-1]
    defaults = {name.upper(): entry["default"] for name, entry in action["inputs"].items()}
    assert {f"${{{{ inputs.{name.lower()} }}}}" for name in step["env"]} == set(step["env"].values())
    summary = tmp_path / "summary.md"
    variables = {
        **{name: defaults[name] for name in step["env"]},
        "PATHS": paths,
        "GITHUB_STEP_SUMMARY": str(summary),
    }
    # The way GitHub starts `shell: bash`.
    done = project(["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]], **variables)
    assert done.returncode == 1, done.stderr
    assert "::error file=" in done.stdout
    assert "sign-flip" in summary.read_text()
    assert (tmp_path / action["inputs"]["junit"]["default"]).read_text().startswith("<?xml")


def test_the_action_takes_quoted_arguments(project, tmp_path):
    action = yaml.safe_load((ROOT / ".github/actions/gradcheck/action.yml").read_text())
    step = action["runs"]["steps"][-1]
    variables = {"PATHS": "spec.yaml", "JUNIT": "g.xml", "ARGS": '-k "nothing or op" -q', "GITHUB_STEP_SUMMARY": ""}
    done = project(["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]], **variables)
    assert done.returncode == 1, done.stderr
    assert "sign-flip" in done.stdout


def test_the_hooks_refuse_a_bad_spec_and_a_wrong_gradient(project, tmp_path):
    hooks = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    validate, run = (shlex.split(hooks[f"gradcheck-{name}"]["entry"]) for name in ("validate", "run"))
    assert project([*validate, "spec.yaml"]).returncode == 0
    assert project([*run, "spec.yaml"]).returncode == 1
    (tmp_path / "bad.yaml").write_text("module: ops.py\ncases: {op: {inputs: {x: {shpe: [3]}}}}\n")
    assert project([*validate, "spec.yaml", "bad.yaml"]).returncode == 2
