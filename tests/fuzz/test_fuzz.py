"""Whatever a spec or an op holds, gradcheck answers in its own words (`make fuzz` runs it long)."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gradcheck.backend.tensorflow.inputs import InputError, load_file
from gradcheck.errors import SpecError
from gradcheck.history import Record, add, failed, read
from gradcheck.results import CaseResult
from gradcheck.spec.arrays import npy_shape
from gradcheck.spec.discover import load, select
from gradcheck.spec.parse import parse
from gradcheck.spec.write import reproduction
from tests.fuzz.strategies import cache_bytes, dtypes, modules, npy_bytes, shapes, spec_bytes
from tests.rates.composed import misjudged, write
from tests.rates.verdicts import own_verdicts

SPECS = int(os.environ.get("FUZZ_SPECS", "150"))
COMPOSED = int(os.environ.get("FUZZ_COMPOSED", "8"))
CASES = int(os.environ.get("FUZZ_CASES", "3"))
FILES = int(os.environ.get("FUZZ_FILES", "150"))
AT_ONCE = 8
LONG = "FUZZ_CASES" in os.environ
# The short run of CI draws the same examples each time and does not shrink, which would take minutes.
QUIET = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "database": None,
    "derandomize": not LONG,
    "phases": [Phase.generate, Phase.shrink] if LONG else [Phase.generate],
}


@settings(max_examples=SPECS, **QUIET)
@given(spec_bytes())
def test_a_spec_is_read_or_refused_with_places(text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spec.yaml"
        path.write_bytes(text)
        (Path(folder) / "ops.py").write_text("")
        problems = ()
        try:
            for case in parse(path, "spec.yaml").cases:
                assert reproduction(case, Path(folder), {}, (), "float32")
        except SpecError as error:
            problems = error.problems or (None,)
        for problem in problems:
            assert problem.line >= 1
            assert problem.render().startswith("spec.yaml:")


@settings(max_examples=FILES, **QUIET)
@given(npy_bytes())
def test_a_file_of_numbers_is_read_or_refused_and_validate_says_what_run_says(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        path.write_bytes(data)
        shape = loaded = None
        with contextlib.suppress(ValueError):
            shape = npy_shape(path)
        with contextlib.suppress(InputError):
            loaded = load_file(str(path), "x")
        if shape is not None:
            assert loaded is not None
            assert loaded.shape == shape


@settings(max_examples=FILES, **QUIET)
@given(cache_bytes())
def test_a_history_is_read_as_far_as_it_can_be(data):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "history.json"
        file.write_bytes(data)
        assert all(isinstance(record, Record) for record in read(Path(folder)).values())
        add(Path(folder), [CaseResult("ops.yaml::new", "ops.yaml", 1, "new", "failed")])
        assert "ops.yaml::new" in failed(read(Path(folder)))


@settings(max_examples=CASES, **QUIET)
@given(st.lists(st.tuples(modules(), shapes, dtypes, st.sampled_from([1, 2])), min_size=AT_ONCE, max_size=AT_ONCE))
def test_the_whole_checker_answers(run_cli, drawn):
    with tempfile.TemporaryDirectory() as folder:
        for number, (source, shape, dtype, order) in enumerate(drawn):
            place = Path(folder) / f"{number}"
            place.mkdir()
            (place / "ops.py").write_text(source)
            spec = {
                "module": "ops.py",
                "cases": {"op": {"order": order, "inputs": {"x": {"shape": shape, "dtype": dtype}}}},
            }
            (place / "spec.yaml").write_text(json.dumps(spec))
        report = Path(folder) / "r.json"
        told = run_cli("run", folder, "-j", "2", "--timeout", "60", "--json", report)
        cases = json.loads(report.read_text())["cases"]
        assert told.code in (0, 1), told.err
        assert "Traceback" not in told.err
        assert len(cases) == AT_ONCE
        for case, (source, shape, dtype, _) in zip(sorted(cases, key=lambda c: c["id"]), drawn, strict=True):
            codes = {f["code"] for f in case["findings"]}
            assert not codes & {"crashed", "timeout", "out-of-memory"}, (source, shape, dtype, case["findings"])
            assert case["status"] in ("passed", "failed", "errored")


def test_ops_put_together_at_random_are_judged_as_they_were_made(tmp_path):
    ops = write(tmp_path, COMPOSED, seed=3)
    assert {bool(op.mistake) for op in ops.values()} == {True, False}
    assert misjudged(ops, own_verdicts(select(load([str(tmp_path)])), 2).values()) == []
