"""An edit is answered by the cases that it touches, with TensorFlow still imported."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from tests.faults.matrix import interruptible

pytest.importorskip("watchfiles")

OPS = """import tensorflow as tf


@tf.custom_gradient
def f(x):
    return x * x, lambda u: tf.convert_to_tensor(u) * 2.0 * x
"""


def test_an_edit_runs_what_it_touches(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ops.py").write_text(OPS)
        (tmp_path / name / "spec.yaml").write_text("module: ops.py\ncases:\n  f: {inputs: {x: {shape: [3]}}}\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "gradcheck", "watch", "."], cwd=tmp_path, stdout=subprocess.PIPE, text=True,
        preexec_fn=interruptible,
    )  # fmt: skip
    rescue = threading.Timer(90, process.kill)
    rescue.start()
    try:
        assert "2 passed" in until_summary(process)
        # Written until it is seen: the watcher needs a moment to begin.
        writer = threading.Event()
        threading.Thread(target=keep_editing, args=(tmp_path / "b" / "ops.py", writer), daemon=True).start()
        told = until_summary(process)
        writer.set()
        assert "b/spec.yaml::f  gradient-mismatch/sign-flip" in told
        assert "a/spec.yaml" not in told
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
        rescue.cancel()


def test_a_spec_that_is_whole_again_is_checked(tmp_path):
    (tmp_path / "ops.py").write_text(OPS)
    spec = tmp_path / "spec.yaml"
    right, broken = (
        "module: ops.py\ncases:\n  f: {inputs: {x: {shape: [3]}}}\n",
        "module: ops.py\ncases:\n  f: {inpts: 1}\n",
    )
    spec.write_text(right)
    process = subprocess.Popen(
        [sys.executable, "-m", "gradcheck", "watch", ".", "--mode", "eager"], cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=interruptible,
    )  # fmt: skip
    rescue = threading.Timer(90, process.kill)
    rescue.start()
    done = threading.Event()
    try:
        assert "1 passed" in until_summary(process)
        threading.Thread(target=keep_turning, args=(spec, (broken, right), done), daemon=True).start()
        assert "1 passed" in until_summary(process)
        done.set()
    finally:
        done.set()
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=20)[1]
        rescue.cancel()
    assert "did you mean `inputs`?" in told
    assert "the specs are valid again" in told


def keep_turning(path, texts, done) -> None:
    while not done.is_set():
        for text in texts:
            whole = path.with_suffix(".new")
            whole.write_text(text)
            whole.replace(path)
            if done.wait(1.5):
                return


def keep_editing(path, done) -> None:
    number = 0
    while not done.wait(1.5):
        number += 1
        # Moved into place, as editors do: half a file would be another mistake.
        whole = path.with_suffix(".new")
        whole.write_text(OPS.replace("2.0", "-2.0") + f"# {number}\n")
        whole.replace(path)


def until_summary(process) -> str:
    lines = []
    while True:
        line = process.stdout.readline()
        assert line, "".join(lines)
        lines.append(line)
        if " passed in " in line or " failed in " in line:
            return "".join(lines)
