"""Faults of users' code, of the machine and of specs, each for real; see tests/faults."""

from __future__ import annotations

import pytest

from tests.faults.matrix import SCENARIOS, observe_modules
from tests.faults.modules import FAULTS

ROWS = ("0 healthy", *FAULTS, "zz healthy", "the run as a whole", "nothing is left running")


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    return {row.name: row for row in observe_modules(tmp_path_factory.mktemp("faults") / "modules")}


@pytest.mark.parametrize("name", ROWS)
def test_a_fault_costs_its_own_case_only(observed, name):
    assert observed[name].holds, observed[name].what


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_run_survives(tmp_path, name):
    SCENARIOS[name](tmp_path)
