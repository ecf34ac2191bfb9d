"""Tests of the history of a folder: no file in its place stops a run or loses what is not ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradcheck import history
from gradcheck.history import Record, add, read
from gradcheck.results import CaseResult

RESULT = CaseResult(id="a.yaml::new", spec="a.yaml", line=1, case="new", status="passed", duration_s=0.5)
KEPT = {"old": {"status": "failed", "duration_s": 1.0}}
posix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with a name")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["cases", "status"]), inner),
)


def _file(folder: Path) -> Path:
    return folder / "history.json"


def test_what_was_recorded_is_read_again(tmp_path):
    add(tmp_path, [RESULT])
    assert read(tmp_path) == {RESULT.id: Record("passed", 0.5)}


@pytest.mark.parametrize(
    "bad", [None, [], {"status": "failed"}, {"status": 3, "duration_s": 1}, {"status": "failed", "duration_s": "1e999"}]
)
def test_a_bad_record_leaves_the_others(tmp_path, bad):
    _file(tmp_path).write_text(json.dumps({"cases": {**KEPT, "bad": bad}}))
    assert read(tmp_path) == {"old": Record("failed", 1.0)}
    add(tmp_path, [RESULT])
    assert set(read(tmp_path)) == {"old", RESULT.id}


@pytest.mark.parametrize("text", ["[" * 100_000, '{"cases": ' * 50_000, "1" * 5_000, "\x00", "", '{"cases": 3}'])
def test_a_file_that_is_no_history_is_replaced(tmp_path, text):
    _file(tmp_path).write_text(text)
    assert read(tmp_path) == {}
    add(tmp_path, [RESULT])
    assert set(read(tmp_path)) == {RESULT.id}


@given(JSON)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_can_be_read_and_added_to(tmp_path, value):
    _file(tmp_path).write_text(json.dumps(value))
    read(tmp_path)
    _file(tmp_path).write_text(json.dumps({"cases": value}))
    add(tmp_path, [RESULT])
    assert RESULT.id in read(tmp_path)


@given(st.binary())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_can_be_read(tmp_path, data):
    _file(tmp_path).write_bytes(data)
    assert read(tmp_path) == {}


@posix
@pytest.mark.parametrize("name", ["history.json", ".lock", ".gitignore"])
def test_a_link_is_not_followed(tmp_path, name):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / name).symlink_to(precious)
    add(folder, [RESULT])
    read(folder)
    assert precious.read_text() == "mine"


@posix
@pytest.mark.parametrize("name", ["history.json", ".lock", ".gitignore"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_a_device_holds_up_nothing(tmp_path, name, kind):
    if kind == "pipe":
        os.mkfifo(tmp_path / name)
    else:
        (tmp_path / name).symlink_to("/dev/zero")
    add(tmp_path, [RESULT])
    assert read(tmp_path) in ({}, {RESULT.id: Record("passed", 0.5)})


@posix
def test_a_lock_in_other_hands_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "_PATIENCE_S", 0.1)
    code = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    command = [sys.executable, "-c", code, str(tmp_path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "\n"
        add(tmp_path, [RESULT])
        assert read(tmp_path) == {}
        holder.communicate("\n")
    add(tmp_path, [RESULT])
    assert set(read(tmp_path)) == {RESULT.id}
