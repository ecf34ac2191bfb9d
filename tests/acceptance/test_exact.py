"""`--exact`: what exact arithmetic decides, on the command line, in specs and in reports."""

from __future__ import annotations

import builtins
import importlib.util
import json

import pytest

from gradcheck.cli import main
from tests.conftest import ROOT

OPS = str(ROOT / "tests" / "specs" / "exact" / "ops.py")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exact")
    (folder / "spec.yaml").write_text(
        f"""
cases:
  wave: {{module: {OPS}, op: scaled, build: {{kind: wave, factor: 1.0}}, inputs: {{x: {{shape: [5]}}}}}}
  wave_off: {{module: {OPS}, op: scaled, build: {{kind: wave, factor: 1.000001}}, inputs: {{x: {{shape: [5]}}}}}}
  cube_by_a_third: {{module: {OPS}, inputs: {{x: {{shape: [5], dtype: float64}}}}}}
  by_python: {{module: {OPS}, modes: [eager], inputs: {{x: {{shape: [5]}}}}}}
  slope_by_python: {{module: {OPS}, build: {{}}, modes: [eager], inputs: {{x: {{shape: [5]}}}}}}
  tie: {{module: {OPS}, op: clipped, build: {{}}, inputs: {{x: {{values: [0.0, 1.0, -1.0]}}}}}}
  band: {{module: {OPS}, op: clipped, build: {{wrong: true}}, inputs: {{x: {{values: [0.5, 1.0, -1.0]}}}}}}
  spectrum: {{module: {OPS}, build: {{}}, inputs: {{x: {{shape: [2, 6]}}}}}}
"""
    )
    path = folder / "report.json"
    code = main(["run", str(folder), "--exact", "-q", "--json", str(path)])
    cases = json.loads(path.read_text())
    return code, {case["case"]: case for case in cases["cases"]}, cases["summary"], folder


def test_a_right_gradient_is_identical_to_eighty_digits(report):
    exact = report[1]["wave"]["exact"]
    assert exact["verdict"] == "identical"
    assert exact["digits"] >= 80
    assert exact["points"] == 5


def test_a_factor_of_a_millionth_fails_and_is_named(report):
    assert report[0] == 1
    (finding,) = report[1]["wave_off"]["findings"]
    assert (finding["code"], finding["cause"]) == ("gradient-mismatch", "constant-factor")
    assert "1.000001" in finding["message"]
    assert all(abs(e["analytic"] / e["exact"] - 1.000001) < 1e-9 for e in finding["elements"])


def test_a_rounded_constant_is_told_and_is_no_error(report):
    case = report[1]["cube_by_a_third"]
    assert case["status"] == "passed"
    assert case["exact"]["verdict"] == "rounded"
    assert 1e-8 < case["exact"]["size"] < 1e-7


def test_what_is_not_known_stays_open_with_its_line(report):
    exact = report[1]["by_python"]["exact"]
    assert (exact["verdict"], exact["op"]) == ("open", "PyFunc")
    assert exact["file"].endswith("ops.py")
    assert exact["line"]


def test_the_numbers_of_a_gradient_by_python_are_held_against_the_exact_derivative(report):
    exact = report[1]["slope_by_python"]["exact"]
    assert exact["verdict"] == "identical"
    assert 4 <= exact["digits"] <= 8
    assert "its numbers are compared" in exact["why"]


def test_at_a_tie_other_draws_decide(report):
    exact = report[1]["tie"]["exact"]
    assert exact["verdict"] == "identical"
    assert "at the sample: a tie" in exact["why"]


def test_a_counterexample_is_held_against_the_exact_derivative(report):
    case = report[1]["band"]
    (finding,) = [f for f in case["findings"] if f["level"] == "error"]
    assert finding["counterexample"]
    assert "exact arithmetic" not in finding["message"]
    assert case["exact"]["verdict"] == "different"


def test_complex_numbers_are_followed(report):
    assert report[1]["spectrum"]["exact"]["verdict"] == "identical"


def test_the_summary_counts_the_verdicts(report):
    assert report[2]["exact"] == {"identical": 4, "different": 2, "rounded": 1, "open": 1}


def test_strict_exact_fails_where_nothing_is_decided(report, capsys):
    assert main(["run", f"{report[3]}/spec.yaml::by_python", "--strict-exact"]) == 1
    assert "inconclusive/exact" in capsys.readouterr().out


def test_the_rerun_command_asks_for_exact_arithmetic_again(report, capsys):
    main(["run", f"{report[3]}/spec.yaml::wave_off", "--exact"])
    assert "--exact" in capsys.readouterr().out.split("rerun:")[1]


def test_without_the_library_the_option_says_how_to_get_it(monkeypatch, capsys):
    known = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "flint" else known(name, *rest)
    )
    assert main(["run", "specs/activations.yaml", "--exact"]) == 2
    assert "pip install python-flint" in capsys.readouterr().err


def test_the_library_is_imported_only_where_it_is_asked_for(monkeypatch):
    real = builtins.__import__

    def refused(name, *rest, **more):
        if name.split(".")[0] == "flint":
            raise ImportError("no python-flint here")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refused)
    import tensorflow as tf

    import gradcheck

    @tf.custom_gradient
    def square(x):
        return x * x, lambda upstream: tf.convert_to_tensor(upstream) * 2.0 * x

    assert gradcheck.check(square, {"x": [1.0, 2.0]}).status == "passed"
