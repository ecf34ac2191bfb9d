"""Which cases run: shards, last failed, and what a history that is lost or locked does."""

from __future__ import annotations

import json

import pytest

from gradcheck.cli.selection import in_shard, shard_of
from gradcheck.errors import UsageError
from gradcheck.spec.discover import load, select
from tests.conftest import ROOT

OPS = "@tf.custom_gradient\ndef f(x):\n    return x * x, lambda u: tf.convert_to_tensor(u) * {} * x\n"
SPEC = "module: ops.py\ncases:\n  f: {inputs: {x: {shape: [2]}}}\n  g: {op: tanh, inputs: {x: {shape: [2]}}}\n"
TANH = "\n\ntanh = tf.tanh\n"


def ids(cases):
    return [case.id for case in cases]


@pytest.mark.parametrize("count", [2, 3, 7])
def test_shards_split_all_cases_and_stay_when_specs_are_added(count):
    few = select(load([str(ROOT / "specs" / "several.yaml"), str(ROOT / "specs" / "linear.yaml")]))
    many = select(load([str(ROOT / "specs")]))
    shards = [set(ids(case for case in many if case in in_shard_or_none(many, i, count))) for i in range(1, count + 1)]
    assert set().union(*shards) == set(ids(many))
    assert sum(map(len, shards)) == len(many)
    for i in range(1, count + 1):
        assert set(ids(in_shard_or_none(few, i, count))) <= shards[i - 1]


def in_shard_or_none(cases, index, count):
    from gradcheck.errors import NothingSelected

    try:
        return in_shard(cases, index, count)
    except NothingSelected:
        return []


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2", ""])
def test_a_shard_that_makes_no_sense_is_refused(text):
    with pytest.raises(UsageError, match="I/N"):
        shard_of(text)


def test_last_failed_runs_what_did_not_pass(run_cli, write_spec, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_spec(SPEC, OPS.format("2.1") + TANH)
    first = run_cli("run", "spec.yaml", "--last-failed")
    assert "running all 2" in first.err
    assert "1 passed, 1 failed" in first.out
    again = run_cli("run", "spec.yaml", "--last-failed")
    assert "running the 1 of 2 cases" in again.err
    assert "1 failed" in again.out
    assert "passed" not in again.out
    write_spec(SPEC, OPS.format("2.0") + TANH)
    assert run_cli("run", "spec.yaml", "--last-failed").code == 0
    assert "running all 2" in run_cli("run", "spec.yaml", "--last-failed").err
    records = json.loads((tmp_path / ".gradcheck_cache" / "history.json").read_text())["cases"]
    assert set(records) == {"spec.yaml::f", "spec.yaml::g"}


def test_a_history_that_cannot_be_read_is_none(run_cli, write_spec, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_spec(SPEC, OPS.format("2.0") + TANH)
    (tmp_path / ".gradcheck_cache").mkdir()
    (tmp_path / ".gradcheck_cache" / "history.json").write_text("{[")
    assert run_cli("run", "spec.yaml", "-k", "f").code == 0
