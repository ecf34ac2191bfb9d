"""`gradcheck run` as a user meets it: tables, exit codes, selection, isolation."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import jsonschema
import pytest

from gradcheck.reports.schema import REPORT_SCHEMA
from tests.faults.matrix import interruptible

OPS = """
@tf.custom_gradient
def square(x):
    return x * x, lambda upstream: upstream * {factor} * x


def plain(x):
    return tf.sin(x)


def draws(x):
    return x * tf.random.uniform(tf.shape(x))


def fails(x):
    raise RuntimeError("out of order")


def dies(x):
    import os, signal
    os.kill(os.getpid(), signal.SIGABRT)


def prints(x):
    print("noise " * 1000)
    return tf.sin(x)
"""
SPEC = "module: ops.py\ncases:\n  square: {inputs: {x: {shape: [4, 3]}}}\n"


def test_a_wrong_factor_fails_with_a_table_and_the_mended_op_passes(run_cli, write_spec):
    wrong = run_cli("run", write_spec(SPEC, OPS.format(factor="3.0")))
    assert wrong.code == 1
    assert "gradient-mismatch/constant-factor" in wrong.out
    assert "gradient / reference = 1.5" in wrong.out
    assert "Autodiff and finite differences agree" in wrong.out
    assert "--seed 0" in wrong.out
    assert all(len(line) <= 80 for line in wrong.out.splitlines() if "│" in line or "─" in line)
    right = run_cli("run", write_spec(SPEC, OPS.format(factor="2.0")))
    assert right.code == 0
    assert "1 passed" in right.out


def test_the_json_report_follows_its_schema_and_names_the_elements(run_cli, write_spec):
    told = run_cli("run", write_spec(SPEC, OPS.format(factor="3.0")), "--format", "json")
    assert told.code == 1
    jsonschema.validate(told.report, REPORT_SCHEMA)
    (case,) = told.report["cases"]
    finding = next(f for f in case["findings"] if f["code"] == "gradient-mismatch")
    worst = finding["elements"][0]
    assert len(worst["index"]) == 2
    assert worst["analytic"] == pytest.approx(1.5 * worst["finite_difference"], rel=1e-4)
    assert worst["autodiff"] == pytest.approx(worst["finite_difference"], rel=1e-4)
    assert worst["rel_error"] == pytest.approx(0.5, rel=1e-3)
    assert {c["mode"] for c in case["comparisons"]} == {"eager", "function", "xla"}


def test_a_small_relative_error_is_found_in_each_precision(run_cli, write_spec):
    for dtype, factor in (("float64", "2.0002"), ("float32", "2.002")):
        spec = SPEC.replace("shape: [4, 3]", f"shape: [4, 3], dtype: {dtype}")
        assert run_cli("run", write_spec(spec, OPS.format(factor=factor))).code == 1


def test_the_same_seed_gives_the_same_numbers_whatever_else_is_selected(run_cli, write_spec):
    spec = "module: ops.py\ncases:\n  square: {inputs: {x: {shape: [3]}}}\n  plain: {inputs: {x: {shape: [3]}}}\n"
    path = write_spec(spec, OPS.format(factor="3.0"))
    alone = run_cli("run", f"{path}::square", "--format", "json").report["cases"][0]["findings"]
    both = run_cli("run", path, "--format", "json", "-j", "2").report["cases"]
    together = next(c for c in both if c["case"] == "square")["findings"]
    assert alone == together
    other = run_cli("run", f"{path}::square", "--seed", "7", "--format", "json").report["cases"][0]["findings"]
    assert alone != other


def test_a_case_that_dies_raises_or_hangs_takes_nobody_along(run_cli, write_spec):
    spec = (
        "module: ops.py\ncases:\n"
        + "".join(f"  {name}: {{inputs: {{x: {{shape: [3]}}}}}}\n" for name in ("fails", "dies", "plain", "prints"))
        + "  hangs: {op: endless, timeout: 2, inputs: {x: {shape: [3]}}}\n"
    )
    ops = OPS.format(factor="2.0") + "\n\ndef endless(x):\n    while True:\n        pass\n"
    told = run_cli("run", write_spec(spec, ops), "--format", "json")
    assert told.code == 1
    found = {c["case"]: (c["status"], [f["code"] for f in c["findings"]]) for c in told.report["cases"]}
    assert found["fails"] == ("errored", ["op-error"])
    assert found["dies"] == ("errored", ["crashed"])
    assert found["hangs"] == ("errored", ["timeout"])
    assert next(c for c in told.report["cases"] if c["case"] == "hangs")["phases_s"]["trace"] > 1
    assert found["plain"][0] == found["prints"][0] == "passed"
    crash = next(c for c in told.report["cases"] if c["case"] == "dies")
    assert "SIGABRT" in crash["findings"][0]["message"]


def test_the_users_own_traceback_is_shown_and_none_of_gradchecks(run_cli, write_spec):
    told = run_cli("run", write_spec(SPEC.replace("square:", "fails:"), OPS.format(factor="2.0")))
    assert "out of order" in told.out
    assert "ops.py" in told.out
    assert "gradcheck/" not in told.out.split("rerun:")[0].replace("gradcheck run", "")


def test_fail_fast_stops_at_the_first_failure(run_cli, write_spec):
    spec = "module: ops.py\ncases:\n  square: {inputs: {x: {shape: [3]}}}\n  plain: {inputs: {x: {shape: [3]}}}\n"
    told = run_cli("run", write_spec(spec, OPS.format(factor="3.0")), "-x", "--format", "json")
    assert [c["case"] for c in told.report["cases"]] == ["square"]
    assert told.report["summary"]["stop_reason"] == "fail-fast"


def test_modes_tapes_dtypes_and_devices_can_be_chosen(run_cli, write_spec):
    path = write_spec(SPEC, OPS.format(factor="2.0"))
    told = run_cli("run", path, "--mode", "eager", "--mode", "xla", "--dtype", "float64", "--device", "cpu:1",
                   "--format", "json")  # fmt: skip
    assert told.code == 0
    compared = told.report["cases"][0]["comparisons"]
    assert {c["mode"] for c in compared if c["check"] == "mode-agreement"} == {"xla"}
    assert {c["device"] for c in compared if c["check"] == "mode-agreement"} == {"cpu:1"}
    assert {c["dtype"] for c in compared} == {"float64"}


def test_an_absent_gpu_is_said(run_cli, write_spec):
    told = run_cli("run", write_spec(SPEC, OPS.format(factor="2.0")), "--device", "tpu:0", "--format", "json")
    assert told.code == 1
    assert told.report["cases"][0]["findings"][0]["code"] == "device-fallback"


def test_skipped_cases_are_counted_with_their_reason(run_cli, write_spec):
    told = run_cli("run", write_spec(SPEC.replace("{inputs", "{skip: not ready, inputs"), OPS.format(factor="3.0")))
    assert told.code == 0
    assert "not ready" in told.out
    assert "1 skipped" in told.out


def test_an_expectation_that_is_not_met_fails(run_cli, write_spec):
    spec = SPEC.replace("{inputs", "{expect: [gradient-mismatch/sign-flip], inputs")
    told = run_cli("run", write_spec(spec, OPS.format(factor="2.0")))
    assert told.code == 1
    assert "expected gradient-mismatch/sign-flip" in told.out


def test_strict_fails_on_warnings(run_cli, write_spec):
    path = write_spec(SPEC, OPS.format(factor="2.0"))
    assert run_cli("run", path).code == 0
    assert run_cli("run", path, "--strict").code == 1


def test_random_ops_are_seeded_alike(run_cli, write_spec):
    assert run_cli("run", write_spec(SPEC.replace("square:", "draws:"), OPS.format(factor="2.0"))).code == 0


def test_bad_specs_and_paths_exit_with_two_before_tensorflow_starts(run_cli, write_spec, tmp_path):
    path = write_spec(SPEC.replace("inputs", "inptus"), OPS.format(factor="2.0"))
    told = run_cli("run", path)
    assert told.code == 2
    assert "did you mean `inputs`?" in told.err
    assert "Traceback" not in told.err
    assert run_cli("run", tmp_path / "gone.yaml").code == 2
    assert run_cli("run", write_spec(SPEC, OPS.format(factor="2.0")), "-j", "many").code == 2
    assert run_cli("run", write_spec(SPEC), "--json", tmp_path / "no" / "r.json").code == 2
    assert run_cli("run", write_spec(SPEC), "-k", "nothing").code == 5


def test_an_ascii_terminal_gets_ascii(write_spec):
    path = write_spec(SPEC, OPS.format(factor="3.0"))
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "80", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "gradcheck", "run", str(path)], capture_output=True, env=env, check=False
    )
    assert done.returncode == 1
    text = done.stdout.decode("ascii")
    assert "analytic" in text
    assert not re.search(r"\\u|\x1b", text)
    assert done.stderr == b""


def test_an_interrupt_reports_what_is_done_and_leaves_no_process(write_spec, tmp_path):
    ops = OPS.format(factor="2.0") + "\n\ndef endless(x):\n    while True:\n        pass\n"
    spec = "module: ops.py\ncases:\n  fails: {inputs: {x: 1.0}}\n  endless: {inputs: {x: 1.0}}\n"
    report = tmp_path / "r.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "gradcheck", "run", str(write_spec(spec, ops)), "--json", str(report)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, preexec_fn=interruptible,
    )  # fmt: skip
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert b"fails" in first
    assert process.returncode == 130
    data = json.loads(report.read_text())
    assert data["summary"]["stop_reason"] == "interrupted"
    assert [c["case"] for c in data["cases"]] == ["fails"]


def test_a_case_that_compares_nothing_says_so(run_cli, write_spec):
    spec = SPEC.replace("{shape: [4, 3]}", "[1, 2, 3]")
    told = run_cli("run", write_spec(spec, OPS.format(factor="3")), "--format", "json")
    (finding,) = [f for f in told.report["cases"][0]["findings"] if f["code"] == "inconclusive"]
    assert "no gradient is compared" in finding["message"]
