"""The shipped specs and the test specs: every wrong version is found as its `expect` says.

Each collection is a class, whose tests share one run; `make test` runs two of them beside each other.
Of the collections of verdicts it takes a fifth of the cases, the same ones each time, and those that are to be quiet;
with `GRADCHECK_ALL_CASES=1` it takes all, and `make verdicts` counts them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest

from gradcheck.cli import main
from gradcheck.reports.schema import REPORT_SCHEMA
from gradcheck.spec.discover import load, select
from tests.conftest import ROOT

COLLECTIONS = (
    ROOT / "specs",
    *sorted(path for path in (ROOT / "tests" / "specs").iterdir() if path.is_dir()),
    *sorted((ROOT / "tests" / "verdicts").glob("*.yaml")),
)
ALL_CASES = bool(os.environ.get("GRADCHECK_ALL_CASES"))
# Right ops and their wrong twins stand beside each other: pairs are taken.
SHARE, PAIR = 5, 2


def _taken(path):
    """Return the cases of a collection that are run."""
    cases = select(load([str(path)]))
    if ALL_CASES or path.parent.name != "verdicts":
        return cases
    return [case for i, case in enumerate(cases) if i // PAIR % SHARE == 0 or "quiet" in case.tags]


CASES = {path: _taken(path) for path in COLLECTIONS}


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        cases = CASES[metafunc.cls.path]
        metafunc.parametrize("case", cases, ids=[case.id.split("/")[-1].replace("::", "-") for case in cases])


class Collection:
    """Statements about the cases of one collection."""

    path: Path

    @pytest.fixture(scope="class")
    def outcome(self, tmp_path_factory):
        written = tmp_path_factory.mktemp("report") / "report.json"
        code = main(["run", *(case.id for case in CASES[self.path]), "-q", "--json", str(written)])
        return code, json.loads(written.read_text())

    @pytest.fixture(scope="class")
    def report(self, outcome):
        return outcome[1]

    def test_the_report_follows_its_schema(self, report):
        jsonschema.validate(report, REPORT_SCHEMA)

    def test_the_run_ends_with_exit_code_zero(self, outcome):
        code, report = outcome
        assert code == 0
        assert report["summary"]["cases"] == len(CASES[self.path])

    def test_each_case_is_found_as_it_says(self, report, case):
        found = next(c for c in report["cases"] if c["id"] == case.id)
        assert found["status"] == "passed", (found["findings"], found.get("missing"))

    def test_right_cases_get_no_error(self, report):
        right = [c for c in report["cases"] if not c["expected"]]
        assert not [f for c in right for f in c["findings"] if f["level"] == "error"]

    def test_quiet_cases_get_no_warning_either(self, report):
        quiet = {case.id for case in CASES[self.path] if "quiet" in case.tags}
        assert not [f for c in report["cases"] if c["id"] in quiet for f in c["findings"]]


for _path in COLLECTIONS:
    _name = "Test" + "".join(part.title() for part in _path.with_suffix("").relative_to(ROOT).parts)
    globals()[_name] = type(_name, (Collection,), {"path": _path})


def test_some_cases_are_right_and_some_are_to_be_quiet():
    cases = [case for cases in CASES.values() for case in cases]
    assert [case for case in cases if not case.expect]
    assert [case for case in cases if "quiet" in case.tags]
