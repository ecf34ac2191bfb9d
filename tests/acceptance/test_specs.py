"""The shipped specs and the test specs: every wrong version is found as its `expect` says."""

from __future__ import annotations

import jsonschema
import pytest

from gradcheck.cli import main
from gradcheck.reports.schema import REPORT_SCHEMA
from gradcheck.spec.discover import load, select
from tests.conftest import ROOT

FOLDERS = [str(ROOT / "specs"), str(ROOT / "tests" / "specs"), str(ROOT / "tests" / "verdicts")]
IDS = [case.id for case in select(load(FOLDERS))]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    import json

    path = tmp_path_factory.mktemp("report") / "report.json"
    code = main(["run", *FOLDERS, "-j", "2", "-q", "--json", str(path)])
    return code, json.loads(path.read_text())


def test_the_report_follows_its_schema(report):
    jsonschema.validate(report[1], REPORT_SCHEMA)


def test_the_run_ends_with_exit_code_zero(report):
    assert report[0] == 0
    assert report[1]["summary"]["cases"] == len(IDS)


@pytest.mark.parametrize("case_id", IDS)
def test_each_case_is_found_as_it_says(report, case_id):
    case = next(c for c in report[1]["cases"] if c["id"] == case_id)
    assert case["status"] == "passed", (case["findings"], case.get("missing"))


def test_right_cases_get_no_error(report):
    right = [c for c in report[1]["cases"] if not c["expected"]]
    assert right
    assert not [f for c in right for f in c["findings"] if f["level"] == "error"]


def test_quiet_cases_get_no_warning_either(report):
    quiet = {case.id for case in select(load(FOLDERS)) if "quiet" in case.tags}
    assert quiet
    assert not [f for c in report[1]["cases"] if c["id"] in quiet for f in c["findings"]]
