"""What reports say: JUnit, GitHub, JSON lines, HTML, saved failures."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from xml.etree import ElementTree

import numpy as np
import pytest

OPS = """
@tf.custom_gradient
def wrong(x):
    return x * x, lambda u: tf.convert_to_tensor(u) * 2.1 * x


@tf.custom_gradient
def right(x):
    return x * x, lambda u: tf.convert_to_tensor(u) * 2.0 * x


def broken(x):
    raise ValueError("<b>no & such</b> \\x1b[31m thing")
"""
SPEC = """module: ops.py
cases:
  wrong: {inputs: {x: {shape: [2, 3]}}}
  right: {inputs: {x: {shape: [2, 3]}}}
  broken: {inputs: {x: {shape: [2]}}}
  later: {op: right, skip: not now, inputs: {x: {shape: [2]}}}
"""


@pytest.fixture
def ran(run_cli, write_spec, tmp_path, monkeypatch):
    """Run four cases once with every report."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    write_spec(SPEC, OPS)
    files = ("--junit", "j.xml", "--html", "h.html", "--json", "r.json", "--save-failures", "saved")
    return run_cli("run", "spec.yaml", "--format", "github", *files)


def test_every_report_of_one_run(ran, tmp_path, run_cli):
    assert ran.code == 1
    junit_tells_failure_error_and_skipped_apart(tmp_path)
    annotations_are_placed_and_escaped(ran.out)
    assert "| `spec.yaml::wrong` | gradient-mismatch/constant-factor [x] |" in (tmp_path / "summary.md").read_text()
    the_page_stands_alone_and_escapes(tmp_path)
    what_was_saved_reproduces_the_element(tmp_path, run_cli)


def junit_tells_failure_error_and_skipped_apart(folder):
    suite = ElementTree.parse(folder / "j.xml").getroot()[0]
    assert {k: suite.get(k) for k in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4", "failures": "1", "errors": "1", "skipped": "1",
    }  # fmt: skip
    wrong = next(case for case in suite if case.get("name") == "wrong")
    assert wrong.find("failure").get("type") == "gradient-mismatch/constant-factor"
    assert "1.05" in wrong.find("failure").text
    assert {p.get("name") for p in wrong.find("properties")} >= {"seed", "max_abs_error", "max_rel_error"}


def annotations_are_placed_and_escaped(out):
    lines = [line for line in out.splitlines() if line.startswith("::error")]
    assert len(lines) == 2
    assert any(re.match(r"::error file=ops.py,line=\d+,title=wrong%3A gradient-mismatch", line) for line in lines)
    assert any(re.match(r"::error file=ops.py,line=\d+,title=broken%3A op-error", line) for line in lines)
    assert "\x1b" not in out


def the_page_stands_alone_and_escapes(folder):
    page = (folder / "h.html").read_text()
    assert "<b>no" not in page
    assert "://" not in page
    assert "<script" not in page
    said = ("where it is wrong; grey is within the tolerance", "finite difference over its steps",
            "analytic against finite difference", "prefers-color-scheme", "@media print")  # fmt: skip
    for what in said:
        assert what in page
    assert page.index("spec.yaml::broken") < page.index("spec.yaml::wrong") < page.index("spec.yaml::right")
    # Of the one gradient that is wrong: where, the scatter, three gradients, the steps.
    assert page.count("<svg") == 6


def what_was_saved_reproduces_the_element(folder, run_cli):
    report = json.loads((folder / "r.json").read_text())
    before = next(c for c in report["cases"] if c["case"] == "wrong")["findings"][0]["elements"]
    saved = np.load(folder / "saved" / "spec--wrong" / "failure.npz")
    assert {"input.x", "upstream.0", "analytic.x", "autodiff.x", "finite_difference.x"} <= set(saved)
    again = run_cli("run", "saved/spec--wrong/spec.yaml", "--format", "json").report
    assert again["cases"][0]["findings"][0]["elements"] == before


def test_json_lines_tell_what_happens_as_it_happens(run_cli, write_spec):
    told = run_cli("run", write_spec(SPEC, OPS), "-k", "wrong", "--format", "jsonl")
    events = [json.loads(line) for line in told.out.splitlines()]
    names = [event["event"] for event in events]
    assert names[:2] == ["run-started", "case-started"]
    assert names[-2:] == ["case-finished", "run-finished"]
    assert "case-progress" in names
    assert events[-2]["case"]["status"] == "failed"
    assert events[-1]["summary"]["failed"] == 1


@pytest.mark.parametrize("flag", ["--json", "--junit", "--html"])
def test_a_file_that_cannot_be_written_is_told_before_the_run(run_cli, write_spec, tmp_path, flag):
    told = run_cli("run", write_spec(SPEC, OPS), flag, tmp_path / "gone" / "r")
    assert told.code == 2
    assert flag in told.err
    assert "gone" in told.err


def test_a_browser_draws_the_page(ran, tmp_path):
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    done = subprocess.run(
        [chromium, *flags, f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={tmp_path / 'page.png'}",
         "--dump-dom", (tmp_path / "h.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "gradient-mismatch/constant-factor" in done.stdout
    assert (tmp_path / "page.png").stat().st_size > 10_000
