"""Specs as pytest tests."""

from __future__ import annotations

import subprocess
import sys

import pytest

OPS = """import tensorflow as tf


@tf.custom_gradient
def wrong(x):
    return x * x, lambda u: tf.convert_to_tensor(u) * 2.1 * x


right = tf.tanh
"""
SPEC = """module: ops.py
cases:
  wrong: {inputs: {x: {shape: [2, 3]}}}
  right: {inputs: {x: {shape: [2, 3]}}, tags: [smooth]}
  later: {op: right, skip: not now, inputs: {x: {shape: [2]}}}
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "ops.py").write_text(OPS)
    (tmp_path / "square.gradcheck.yaml").write_text(SPEC)
    (tmp_path / "other.yaml").write_text("not a spec\n")

    def pytest_in(*args):
        return subprocess.run(
            [sys.executable, "-m", "pytest", *args], capture_output=True, text=True, cwd=tmp_path, check=False
        )

    pytest_in.folder = tmp_path
    return pytest_in


def test_one_test_per_case_with_the_table_of_a_failure(project):
    done = project("-q", "-rs", "--junitxml", "j.xml")
    assert "1 failed, 1 passed, 1 skipped" in done.stdout
    assert "gradient-mismatch/constant-factor [x]" in done.stdout
    assert "Traceback" not in done.stdout
    assert "not now" in done.stdout
    assert 'name="wrong"' in (project.folder / "j.xml").read_text()
    again = project("-q", "--lf", "-n", "2")
    assert "1 failed" in again.stdout
    assert "passed" not in again.stdout


def test_cases_are_selected_by_name_tag_and_id(project):
    assert "1 passed, 2 deselected" in project("-q", "-k", "smooth").stdout
    assert "1 passed" in project("-q", "square.gradcheck.yaml::right").stdout


def test_a_mistake_in_a_spec_is_a_collection_error_with_its_place(project):
    (project.folder / "bad.gradcheck.yaml").write_text("module: ops.py\ncases:\n  f: {inputs: {x: {shap: [2]}}}\n")
    done = project("-q", "bad.gradcheck.yaml")
    assert done.returncode == 2
    assert "bad.gradcheck.yaml:3" in done.stdout
    assert "did you mean `shape`" in done.stdout


def test_patterns_of_the_ini_are_collected_too(project):
    (project.folder / "other.yaml").write_text(SPEC)
    (project.folder / "pytest.ini").write_text("[pytest]\ngradcheck_files = other.yaml\n")
    assert "6 tests collected" in project("-q", "--collect-only").stdout


def test_other_test_runs_import_nothing(project):
    (project.folder / "test_x.py").write_text("import sys\n\n\ndef test_x():\n    assert 'yaml' not in sys.modules\n")
    assert "1 passed" in project("-q", "test_x.py").stdout
