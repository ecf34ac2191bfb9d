"""Every finding code is explained, and has a wrong op and a right twin among the test specs."""

from __future__ import annotations

import pytest
import yaml

from gradcheck.findings import CATALOGUE
from tests.conftest import ROOT

NEGATIVE = ROOT / "tests" / "specs" / "negative"


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_code_has_a_wrong_op_and_a_right_twin(code):
    cases = yaml.safe_load((NEGATIVE / code / "spec.yaml").read_text())["cases"].values()
    expectations = [want for case in cases for want in case.get("expect", [])]
    assert any(want.split("/")[0] == code for want in expectations)
    assert any("expect" not in case for case in cases)


def test_every_cause_of_a_mismatch_has_a_case():
    cases = yaml.safe_load((NEGATIVE / "gradient-mismatch" / "spec.yaml").read_text())["cases"].values()
    found = {want.partition("/")[2] for case in cases for want in case.get("expect", [])}
    assert found == set(CATALOGUE["gradient-mismatch"].causes)


@pytest.mark.parametrize("code", CATALOGUE)
def test_codes_are_explained(run_cli, code):
    told = run_cli("explain", code)
    assert told.code == 0
    assert CATALOGUE[code].meaning in told.out


def test_an_unknown_code_gets_the_nearest(run_cli):
    told = run_cli("explain", "gradient-mismach")
    assert told.code == 2
    assert "did you mean `gradient-mismatch`?" in told.err
