"""Branches of the forward and of grad_fn: reached, compared, counted, and shown by the smallest input."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

SPEC = Path(__file__).parents[1] / "branches" / "spec.yaml"

OPS = """
@tf.custom_gradient
def banded(x):
    def grad(u):
        return tf.where((x > 2.415) & (x < 2.43), 3.0, 2.0) * u * x
    return x * x, grad

@tf.custom_gradient
def bounded(x):
    def grad(u):
        return tf.where(x * x < -1.0, 0.0, 2.0) * u * x
    return x * x, grad

@tf.custom_gradient
def smooth(x):
    return x * x, lambda u: 2.0 * u * x
"""


@pytest.fixture
def spec(write_spec):
    """Return how to write a spec of one of the ops."""

    def write(*names: str, more: str = ""):
        cases = ", ".join(f"{name}: {{modes: [eager], inputs: {{x: {{shape: [4, 6]}}}}{more}}}" for name in names)
        return write_spec(f"module: ops.py\ncases: {{{cases}}}\n", OPS)

    return write


def test_gradients_that_are_wrong_on_one_side_of_a_condition_are_found_and_right_ones_are_not_blamed(run_cli):
    told = run_cli("run", SPEC, "-j", "2", "--format", "json")
    report = json.loads(told.out)
    assert [c["id"] for c in report["cases"] if c["status"] != "passed"] == []
    reached = report["summary"]["conditions"]
    assert reached["reached"] >= 0.97 * reached["sides"] > 0


def test_the_finding_names_the_condition_and_the_smallest_input(run_cli, spec):
    told = run_cli("run", spec("banded"), "--format", "json")
    (case,) = json.loads(told.out)["cases"]
    (finding,) = [f for f in case["findings"] if f["level"] == "error"]
    assert (finding["code"], finding["cause"]) == ("gradient-mismatch", "region")
    assert " at ops.py:" in finding["message"]
    numbers = finding["counterexample"]["x"]["values"]
    assert len(numbers) == 1
    (only,) = [number for number in numbers[0] if number != 0]
    assert 2.415 < only < 2.43
    assert case["conditions"]["sides"] == case["conditions"]["reached"] == 2


def test_the_smallest_input_is_a_spec_that_fails_at_once(run_cli, spec, write_spec):
    told = run_cli("run", spec("banded"))
    line = next(line for line in told.out.splitlines() if re.match(r" +x: \{values:", line))
    again = run_cli(
        "run",
        write_spec(f"module: ops.py\ncases: {{banded: {{modes: [eager], inputs: {{{line.strip()}}}}}}}\n", OPS),
        "--format", "json",
    )  # fmt: skip
    (case,) = json.loads(again.out)["cases"]
    (finding,) = [f for f in case["findings"] if f["level"] == "error"]
    assert finding["code"] == "gradient-mismatch"
    assert "right at the sample" not in finding["message"]


def test_a_saved_failure_holds_the_smallest_input(run_cli, spec, tmp_path):
    folder = tmp_path / "kept"
    run_cli("run", spec("banded"), "--save-failures", folder)
    (saved,) = folder.rglob("*.yaml")
    told = run_cli("run", saved, "--format", "json")
    (case,) = json.loads(told.out)["cases"]
    assert case["status"] == "failed"
    assert case["elements"] < 24


def test_sides_that_no_input_reaches_are_listed_with_their_line(run_cli, spec):
    told = run_cli("run", spec("bounded"), "-v")
    assert told.code == 0, told.out
    assert "conditions: 1 of 2 sides reached" in told.out
    assert re.search(r"not reached: .*ops\.py:\d+ \(Less\) true: no input was found that reaches it", told.out)


@pytest.mark.parametrize(
    ("name", "percent", "code"), [("bounded", "60", 1), ("bounded", "50", 0), ("smooth", "100", 0)]
)
def test_a_run_fails_where_too_few_sides_are_reached(run_cli, spec, name, percent, code):
    told = run_cli("run", spec(name), "--fail-under-conditions", percent)
    assert told.code == code, told.out + told.err
    assert ("50.0 % of the sides of conditions were reached (1 of 2)" in told.err) == bool(code)


def test_an_op_without_conditions_has_no_sides(run_cli, spec):
    told = run_cli("run", spec("smooth"), "--format", "json")
    (case,) = json.loads(told.out)["cases"]
    assert (case["conditions"]["sides"], case["conditions"]["unreached"]) == (0, [])
