"""Every finding has an example: the wrong op gets it, the right twin does not; the example of every key is a spec."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

from gradcheck.advice import ADVICE, CAUSES
from gradcheck.examples import EXAMPLES, HEAD
from gradcheck.findings import CATALOGUE
from gradcheck.spec.keys import CASE_KEYS, FILE_KEYS, INPUT_KEYS
from gradcheck.spec.parse import parse_data
from gradcheck.spec.schema import SCHEMA, described


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Return the results of all wrong and right examples, by code."""
    folder = tmp_path_factory.mktemp("examples")
    for code, example in EXAMPLES.items():
        for kind, source, case in (
            ("wrong", example.wrong, example.case),
            ("right", example.right, example.right_case or example.case),
        ):
            name = f"{kind}_{code.replace('-', '_')}"
            (folder / f"{name}.py").write_text(HEAD + source)
            (folder / f"{name}.yaml").write_text(f"module: {name}.py\ncases:\n  op: {case}\n")
    command = [sys.executable, "-m", "gradcheck", "run", str(folder), "-j", "2", "--format", "json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return {case["spec"].rpartition("/")[2][:-5]: case for case in json.loads(done.stdout)["cases"]}


def test_every_cause_says_what_to_do():
    assert set(CAUSES) == {cause for info in CATALOGUE.values() for cause in info.causes}


def test_every_code_has_an_example():
    assert set(EXAMPLES) == set(ADVICE) == set(CATALOGUE)


@pytest.mark.parametrize("code", list(EXAMPLES))
def test_the_wrong_op_gets_the_finding_and_its_right_twin_does_not(cases, code):
    wrong, right = (cases[f"{kind}_{code.replace('-', '_')}"] for kind in ("wrong", "right"))
    assert code in [finding["code"] for finding in wrong["findings"]]
    assert right["status"] == "passed", right["findings"]
    assert not right["findings"], "a right example warns"


def test_every_key_of_the_schema_has_words_and_no_other_key_has():
    assert set(FILE_KEYS) == set(SCHEMA["properties"])
    assert set(CASE_KEYS) == set(SCHEMA["definitions"]["case"]["properties"])
    assert set(INPUT_KEYS) == set(SCHEMA["definitions"]["drawn"]["properties"])
    assert all("Example: " in key["description"] for key in described()["definitions"]["case"]["properties"].values())


@pytest.mark.parametrize("name", [name for name in CASE_KEYS if name != "module"])
def test_the_example_of_a_case_key_is_a_spec(tmp_path, name):
    (tmp_path / "ops.py").touch()
    __import__("numpy").save(tmp_path / "upstream.npy", [1.0])
    given = {} if name in ("inputs", "factory") else {"inputs": {"x": {"shape": [4]}}}
    case = {**given, **yaml.safe_load(CASE_KEYS[name].example)}
    assert parse_data({"module": "ops.py", "cases": {"op": case}}, "spec.yaml", tmp_path).cases


@pytest.mark.parametrize("name", list(INPUT_KEYS))
def test_the_example_of_an_input_key_is_a_spec(tmp_path, name):
    (tmp_path / "ops.py").touch()
    __import__("numpy").save(tmp_path / "x.npy", [1.0])
    example = yaml.safe_load(INPUT_KEYS[name].example.replace(".inf", "9.0"))
    assert name in example
    assert parse_data({"module": "ops.py", "cases": {"op": {"inputs": {"x": example}}}}, "s", tmp_path).cases
