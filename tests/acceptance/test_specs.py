"""The shipped specs and the test specs: every wrong version is found as its `expect` says."""

from __future__ import annotations

import json

import jsonschema
import pytest

from gradcheck.cli import main
from gradcheck.reports.schema import REPORT_SCHEMA
from gradcheck.spec.discover import load, select
from tests.conftest import ROOT

# What is run at once; two of them run beside each other.
RUNS = (
    ROOT / "specs",
    *sorted(path for path in (ROOT / "tests" / "specs").iterdir() if path.is_dir()),
    *sorted((ROOT / "tests" / "verdicts").glob("*.yaml")),
)
CASES = {path: select(load([str(path)])) for path in RUNS}


def in_its_group(path, *values):
    """Return a parameter whose tests run in one process, which makes the report once."""
    name = str(path.relative_to(ROOT))
    mark = pytest.mark.xdist_group(name)
    return pytest.param(path, *values, marks=mark, id="-".join((name, *(case.id.split("/")[-1] for case in values))))


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Return how the cases of a path are run, once."""
    known = {}

    def report(path):
        if path not in known:
            written = tmp_path_factory.mktemp("report") / "report.json"
            code = main(["run", str(path), "-q", "--json", str(written)])
            known[path] = code, json.loads(written.read_text())
        return known[path]

    return report


each_run = pytest.mark.parametrize("path", [in_its_group(path) for path in RUNS])


@each_run
def test_the_report_follows_its_schema(reports, path):
    jsonschema.validate(reports(path)[1], REPORT_SCHEMA)


@each_run
def test_the_run_ends_with_exit_code_zero(reports, path):
    code, report = reports(path)
    assert code == 0
    assert report["summary"]["cases"] == len(CASES[path])


@pytest.mark.parametrize(("path", "case"), [in_its_group(path, case) for path in RUNS for case in CASES[path]])
def test_each_case_is_found_as_it_says(reports, path, case):
    found = next(c for c in reports(path)[1]["cases"] if c["id"] == case.id)
    assert found["status"] == "passed", (found["findings"], found.get("missing"))


@each_run
def test_right_cases_get_no_error(reports, path):
    right = [c for c in reports(path)[1]["cases"] if not c["expected"]]
    assert right
    assert not [f for c in right for f in c["findings"] if f["level"] == "error"]


@each_run
def test_quiet_cases_get_no_warning_either(reports, path):
    quiet = {case.id for case in CASES[path] if "quiet" in case.tags}
    assert not [f for c in reports(path)[1]["cases"] if c["id"] in quiet for f in c["findings"]]


def test_some_cases_are_to_be_quiet():
    assert [case for cases in CASES.values() for case in cases if "quiet" in case.tags]
