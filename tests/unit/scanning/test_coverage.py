"""What covers a custom gradient."""

from __future__ import annotations

import json

import pytest

from gradcheck.errors import UsageError
from gradcheck.scanning.coverage import scan

OPS = """
import tensorflow as tf
from helpers import halved

@tf.custom_gradient
def square(x):
    return x * x, lambda u: 2 * u * x

@tf.custom_gradient
def cube(x):
    return x**3, lambda u: u

def outer(x):
    return halved(square(x))
"""
HELPERS = "import tensorflow as tf\n\n@tf.custom_gradient\ndef halved(x):\n    return x / 2, lambda u: u / 2\n"


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ops.py").write_text(OPS)
    (tmp_path / "helpers.py").write_text(HELPERS)
    return tmp_path


def covered(**more):
    return {site.name: site.covered for site in scan(["."], ["."], **more).sites}


def test_without_a_spec_nothing_is_covered(tree):
    assert covered() == {"square": "", "cube": "", "halved": ""}
    assert scan(["."], ["."]).percent == 0


def test_a_case_covers_its_op_and_what_the_op_uses(tree):
    (tree / "s.yaml").write_text("module: ops.py\ncases: {outer: {inputs: {x: 1.0}}}\n")
    assert covered() == {"square": "s.yaml::outer", "cube": "", "halved": "s.yaml::outer"}


def test_a_recording_covers_what_it_judged(tree):
    sites = [
        {"file": "../ops.py", "name": "cube", "status": "passed"},
        {"file": "../helpers.py", "name": "halved", "status": "skipped"},
    ]
    (tree / "rec").mkdir()
    (tree / "rec" / "recorded.json").write_text(json.dumps({"sites": sites}))
    assert covered() == {"square": "", "cube": "rec/recorded.json", "halved": ""}


def test_a_damaged_recording_or_spec_stops_nothing(tree):
    (tree / "recorded.json").write_text("{")
    (tree / "s.yaml").write_text("module: [\n")
    found = scan(["."], ["."])
    assert len(found.sites) == 3
    assert any("s.yaml" in problem for problem in found.unread)


def test_a_file_that_is_no_python_is_named(tree):
    (tree / "bad.py").write_text("@tf.custom_gradient\ndef f(:\n")
    assert any("bad.py" in problem for problem in scan(["."], []).unread)


def test_virtual_environments_and_hidden_folders_are_not_searched(tree):
    for folder in ("env", ".hidden"):
        (tree / folder).mkdir()
        (tree / folder / "ops.py").write_text(HELPERS)
    (tree / "env" / "pyvenv.cfg").write_text("")
    assert len(scan(["."], []).sites) == 3


def test_a_path_that_is_not_there_is_an_error(tree):
    with pytest.raises(UsageError, match="no file or folder 'nowhere'"):
        scan(["nowhere"], [])
