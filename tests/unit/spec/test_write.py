"""A case that is written as a spec is read as the same case."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradcheck.spec.discover import load, select
from gradcheck.spec.write import reproduction


def again(tmp_path, body, **changes):
    (tmp_path / "ops.py").write_text("")
    (tmp_path / "spec.yaml").write_text(f"module: ops.py\ncases:\n  op: {body}\n")
    case = replace(select(load([str(tmp_path / "spec.yaml")]))[0], **changes)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "spec.yaml").write_text(reproduction(case, tmp_path / "out", {}, (), "float32"))
    return select(load([str(tmp_path / "out" / "spec.yaml")]))[0]


@pytest.mark.parametrize(
    ("body", "name", "value"),
    [
        ("{build: {}, inputs: {x: 1.0}}", "build", {}),
        ("{build: {units: 3}, inputs: {x: 1.0}}", "build", {"units": 3}),
        ("{reference: exact, inputs: {x: 1.0}}", "exact", "exact"),
        ("{reference: auto, inputs: {x: 1.0}}", "exact", "auto"),
        ("{reference: other, inputs: {x: 1.0}}", "reference", "other"),
        ("{arguments: {axis: -1}, inputs: {x: 1.0}}", "arguments", {"axis": -1}),
        ("{modes: [eager], order: 2, inputs: {x: 1.0}}", "order", 2),
    ],
)
def test_what_a_case_says_is_kept(tmp_path, body, name, value):
    assert getattr(again(tmp_path, body), name) == value


def test_a_case_without_build_has_none_again(tmp_path):
    found = again(tmp_path, "{inputs: {x: 1.0}}")
    assert found.build is None
    assert found.exact is None


def test_exactness_of_a_run_is_kept_where_nothing_else_stands_for_the_reference(tmp_path):
    assert again(tmp_path, "{inputs: {x: 1.0}}", exact="strict").exact == "exact"


def test_a_declared_reference_goes_before_exactness(tmp_path):
    found = again(tmp_path, "{surrogate: other, inputs: {x: 1.0}}", exact="exact")
    assert (found.surrogate, found.exact) == ("other", None)
