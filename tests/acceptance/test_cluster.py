"""Cases on the workers of a real Dask scheduler that share no folder with the specs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

pytest.importorskip("distributed")

OPS = """
from helper import TWO


@tf.custom_gradient
def wrong(x):
    return x * x, lambda u: tf.convert_to_tensor(u) * 2.1 * x


def right(x):
    return TWO * x


def dies(x):
    import os
    os.abort()

"""
SPEC = """module: ops.py
cases:
  wrong: {inputs: {x: {shape: [3]}}}
  right: {inputs: {x: {file: x.npy}}}
  dies: {inputs: {x: {shape: [3]}}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Start a scheduler and two workers, each in a folder of its own; return the address."""
    yield from started_cluster(tmp_path_factory)


@pytest.fixture
def mortal_cluster(tmp_path_factory):
    """Start another, whose workers may be killed."""
    yield from started_cluster(tmp_path_factory)


def started_cluster(tmp_path_factory):
    port = free_port()
    address = f"127.0.0.1:{port}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}

    def start(*args):
        return subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_scheduler" if args[0] == "scheduler" else
             "distributed.cli.dask_worker", *args[1:]],
            cwd=tmp_path_factory.mktemp(args[0]), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    started = [start("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")]
    wait_for(port)
    started += [start("worker", f"tcp://{address}", "--nthreads", "1", "--no-dashboard", "--no-nanny") for _ in "ab"]
    yield address
    for process in reversed(started):
        end(process)


def end(process):
    """Ask the process to stop; kill one that a closed connection keeps from stopping."""
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for(port: int) -> None:
    for _ in range(120):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.25)
    raise TimeoutError("the scheduler does not answer")


def test_verdicts_are_those_of_this_machine(cluster, run_cli, write_spec, tmp_path):
    import numpy as np

    np.save(tmp_path / "x.npy", np.ones(3, np.float32))
    (tmp_path / "helper.py").write_text("TWO = 2.0\n")
    spec = write_spec(SPEC, OPS)
    here = run_cli("run", spec, "--format", "json").report
    for _ in range(20):
        there = run_cli("run", spec, "--format", "json", "--executor", f"dask://{cluster}")
        if "has no workers" not in there.err:
            break
        time.sleep(1)
    found = json.loads(there.out)
    assert there.code == 1
    for a, b in zip(here["cases"], found["cases"], strict=True):
        assert (a["id"], a["status"]) == (b["id"], b["status"])
        assert [f["code"] for f in a["findings"]] == [f["code"] for f in b["findings"]]
        assert [f["elements"] for f in a["findings"]] == [f["elements"] for f in b["findings"]]
        assert [f["file"] for f in a["findings"]] == [f["file"] for f in b["findings"]]


KILLER = """
import os
import signal
from pathlib import Path

import psutil


def kill_worker():
    for process in psutil.Process().parents():
        if any("dask_worker" in word for word in process.cmdline()):
            process.send_signal(signal.SIGKILL)


def once(x):
    marker = Path(MARKER)
    if not marker.exists():
        marker.write_text("")
        kill_worker()
    return tf.sin(x)


def always(x):
    kill_worker()
    return tf.sin(x)


"""


def test_a_lost_worker_costs_its_case_a_second_start_and_no_more(mortal_cluster, run_cli, write_spec, tmp_path):
    pytest.importorskip("psutil")
    spec = write_spec(
        "module: ops.py\ncases: {once: {inputs: {x: 1.0}}, always: {inputs: {x: 1.0}}}\n",
        KILLER.replace("MARKER", repr(str(tmp_path / "marker"))),
    )
    for _ in range(20):
        there = run_cli("run", f"{spec}::once", "--format", "json", "--executor", f"dask://{mortal_cluster}")
        if "has no workers" not in there.err:
            break
        time.sleep(1)
    assert (tmp_path / "marker").exists(), there
    assert there.out, there.err
    assert [case["status"] for case in json.loads(there.out)["cases"]] == ["passed"]
    lost = run_cli("run", f"{spec}::always", "--format", "json", "--executor", f"dask://{mortal_cluster}")
    assert lost.code == 1, lost.err
    [finding] = json.loads(lost.out)["cases"][0]["findings"]
    assert finding["code"] == "crashed"
    assert "no worker is left" in finding["message"]


def test_a_scheduler_that_is_not_there_is_told(run_cli, write_spec):
    told = run_cli("run", write_spec("module: ops.py\ncases: {s: {inputs: {x: 1.0}}}\n", "s = tf.sin\n"),
                   "--executor", f"dask://127.0.0.1:{free_port()}")  # fmt: skip
    assert told.code == 2
    assert "no Dask scheduler answers" in told.err


@pytest.mark.parametrize("url", ["dask://x", "http://a:1", "dask://a:b", "a:1"])
def test_an_address_that_makes_no_sense_is_refused(run_cli, write_spec, url):
    told = run_cli("run", write_spec("module: ops.py\ncases: {s: {inputs: {x: 1.0}}}\n", "s = tf.sin\n"),
                   "--executor", url)  # fmt: skip
    assert told.code == 2
    assert "dask://host:port" in told.err


def test_a_worker_with_another_version_is_refused(cluster, run_cli, write_spec, monkeypatch):
    monkeypatch.setattr("gradcheck.executors.cluster.VERSION", "99.0")
    spec = write_spec("module: ops.py\ncases: {s: {inputs: {x: 1.0}}}\n", "s = tf.sin\n")
    for _ in range(20):
        told = run_cli("run", spec, "--executor", f"dask://{cluster}")
        if "has no workers" not in told.err:
            break
        time.sleep(1)
    assert told.code == 2
    assert "this is gradcheck 99.0; install the same on tcp://" in told.err


def wait_for_workers(address: str, count: int) -> None:
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=60)


FREEZER = """
import os
import signal

import psutil


def freezes(x):
    for process in psutil.Process().parents():
        if any("dask_worker" in word for word in process.cmdline()):
            process.send_signal(signal.SIGSTOP)
    return tf.sin(x)


def right(x):
    return tf.sin(x)

"""


def test_a_frozen_worker_costs_its_case_its_time_and_not_the_run(mortal_cluster, run_cli, write_spec, monkeypatch):
    psutil = pytest.importorskip("psutil")
    monkeypatch.setattr("gradcheck.executors.cluster.GRACE_S", 10)
    spec = write_spec(
        "module: ops.py\ncases: {freezes: {timeout: 15, inputs: {x: 1.0}}, right: {inputs: {x: 1.0}},"
        " behind: {op: right, inputs: {x: 1.0}}}\n",
        FREEZER,
    )
    try:
        wait_for_workers(mortal_cluster, 2)
        told = run_cli("run", spec, "--format", "json", "--executor", f"dask://{mortal_cluster}")
        found = {case["case"]: case for case in json.loads(told.out)["cases"]}
        # One of the two waits behind the frozen worker.
        others = [(found[name]["status"], found[name]["findings"]) for name in ("right", "behind")]
        assert others == [("passed", []), ("passed", [])]
        assert [f["code"] for f in found["freezes"]["findings"]] == ["timeout"], found["freezes"]["findings"]
        assert "does not answer" in found["freezes"]["findings"][0]["message"]
    finally:
        for process in psutil.process_iter(["cmdline"]):
            if any("dask_worker" in word for word in process.info["cmdline"] or ()):
                process.send_signal(signal.SIGCONT)
