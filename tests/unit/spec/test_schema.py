"""The JSON Schema and the reader accept and refuse the same files."""

from __future__ import annotations

import copy

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradcheck.errors import SpecError
from gradcheck.spec.parse import parse
from gradcheck.spec.schema import DTYPES, SCHEMA

GOOD = {
    "module": "ops.py",
    "defaults": {"seed": 1, "tags": ["a"]},
    "cases": {
        "f": {
            "inputs": {
                "x": {"shape": [2, 3], "dtype": "float64", "uniform": {"low": 0.0, "high": 1.0}},
                "y": [[1.0, 2.0]],
                "z": {"items": [{"shape": []}, 2]},
            },
            "arguments": {"axis": 1},
            "modes": ["eager", "xla"],
            "expect": ["gradient-mismatch/sign-flip"],
            "order": 2,
            "variables": ["w"],
        }
    },
}
WRONG_VALUES = [None, -1, 2.5, "nonsense", [], {}, [None], {"a": 1}, True]


def read(tmp_path, data):
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(data))
    (tmp_path / "ops.py").write_text("")
    try:
        parse(path, "s.yaml")
    except SpecError:
        return False
    return True


def places(data, path=()):
    yield path
    if isinstance(data, dict):
        for key, value in data.items():
            yield from places(value, (*path, key))
    elif isinstance(data, list):
        for i, value in enumerate(data):
            yield from places(value, (*path, i))


def test_the_schema_itself_is_valid():
    jsonschema.Draft7Validator.check_schema(SCHEMA)


def test_the_good_file_is_accepted_by_both(tmp_path):
    jsonschema.validate(GOOD, SCHEMA)
    assert read(tmp_path, GOOD)


@pytest.mark.parametrize("place", [p for p in places(GOOD) if p])
@pytest.mark.parametrize("value", WRONG_VALUES, ids=repr)
def test_what_the_schema_refuses_the_reader_refuses(tmp_path, place, value):
    data = copy.deepcopy(GOOD)
    target = data
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    if not jsonschema.Draft7Validator(SCHEMA).is_valid(data):
        assert not read(tmp_path, data)


@given(
    st.dictionaries(st.sampled_from(["x", "y"]), st.fixed_dictionaries(
        {"shape": st.lists(st.integers(0, 3), max_size=3)},
        optional={"dtype": st.sampled_from(DTYPES[:4]), "differentiate": st.sampled_from([True, False, "none"]),
                  "normal": st.fixed_dictionaries({}, optional={"mean": st.floats(-1, 1), "stddev": st.floats(0, 1)})},
    )),
    st.fixed_dictionaries({}, optional={"order": st.sampled_from([1, 2]), "seed": st.integers(0, 9),
                                        "coverage": st.sampled_from(["full", "auto"]), "samples": st.integers(1, 3)}),
)  # fmt: skip
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_files_drawn_from_the_format_are_accepted_by_both(tmp_path, inputs, options):
    data = {"module": "ops.py", "cases": {"f": {"inputs": inputs, **options}}}
    jsonschema.validate(data, SCHEMA)
    assert read(tmp_path, data)
