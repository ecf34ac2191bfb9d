"""What scaffold writes passes as it is, in every kind, and shows a mistake once one is made."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gradcheck.scaffold import KINDS


def test_every_kind_passes_run_and_ruff(run_cli, tmp_path):
    for number, kind in enumerate(KINDS):
        assert run_cli("scaffold", f"op_{number}", "--kind", kind, "--dir", tmp_path / "ops_of_mine").code == 0
    told = run_cli("run", tmp_path / "ops_of_mine", "--strict")
    assert told.code == 0, told.out
    assert f"{len(KINDS)} passed" in told.out
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", str(tmp_path)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if "No module named ruff" in done.stderr:
            pytest.skip("ruff is not installed here")
        assert done.returncode == 0, done.stdout


def test_the_path_of_a_new_user(run_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = run_cli("scaffold", "swish", "--kind", "elementwise", "--dir", "myops")
    assert "gradcheck run myops/swish.yaml" in told.out
    op = tmp_path / "myops" / "ops" / "swish.py"
    right = op.read_text()
    op.write_text(right.replace("return upstream * (", "return -upstream * ("))
    wrong = run_cli("run", "myops")
    assert wrong.code == 1
    assert "gradient-mismatch/sign-flip" in wrong.out
    op.write_text(right)
    assert run_cli("run", "myops").code == 0
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "myops"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_nothing_is_written_over(run_cli, tmp_path):
    assert run_cli("scaffold", "gate", "--dir", tmp_path).code == 0
    (tmp_path / "ops" / "gate.py").write_text("mine\n")
    refused = run_cli("scaffold", "gate", "--dir", tmp_path)
    assert refused.code == 2
    assert "--force" in refused.err
    assert (tmp_path / "ops" / "gate.py").read_text() == "mine\n"
    assert run_cli("scaffold", "gate", "--dir", tmp_path, "--force").code == 0
    assert "custom_gradient" in (tmp_path / "ops" / "gate.py").read_text()


def test_a_dry_run_writes_nothing(run_cli, tmp_path):
    told = run_cli("scaffold", "gate", "--dir", tmp_path / "new", "--dry-run", "--ci", "github")
    assert told.code == 0
    assert told.out.count("would write") == 5
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["2x", "a-b", "class", "", "a b", "../x", "_hidden", "tf", "grad", "é!", "test_gate"])
def test_a_name_that_cannot_be_an_op_is_refused(run_cli, tmp_path, name):
    told = run_cli("scaffold", name, "--dir", tmp_path)
    assert told.code == 2
    assert not list(tmp_path.iterdir())
