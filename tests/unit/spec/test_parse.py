"""The reader takes what the contract says and reports every mistake with its place."""

from __future__ import annotations

import textwrap

import pytest

from gradcheck.errors import SpecError
from gradcheck.spec.parse import parse


def problems(tmp_path, text):
    path = tmp_path / "s.yaml"
    path.write_text(textwrap.dedent(text))
    (tmp_path / "ops.py").write_text("")
    with pytest.raises(SpecError) as caught:
        parse(path, "s.yaml")
    return caught.value.problems


def case(tmp_path, text):
    path = tmp_path / "s.yaml"
    path.write_text("module: ops.py\ncases:\n  a:\n" + textwrap.indent(textwrap.dedent(text), "    "))
    (tmp_path / "ops.py").write_text("")
    return parse(path, "s.yaml").cases[0]


def test_the_smallest_spec_has_the_defaults(tmp_path):
    found = case(tmp_path, "inputs: {x: {shape: [4, 3]}}")
    assert (found.op, found.modes, found.tapes, found.order) == (
        "a",
        ("eager", "function", "xla"),
        ("inside", "outside"),
        1,
    )
    assert (found.inputs["x"].dtype, found.inputs["x"].source) == ("float32", "normal")
    assert found.line == 3


def test_scalars_are_yaml_1_2(tmp_path):
    found = case(tmp_path, "inputs: {x: 1e-4, n: 017}\narguments: {flag: no, time: 12:30, date: 2024-01-02, on: true}")
    assert found.inputs["x"].parameters == 1e-4
    assert found.inputs["n"].parameters == 17
    assert found.arguments == {"flag": "no", "time": "12:30", "date": "2024-01-02", "on": True}


def test_literals_without_a_decimal_point_are_int32(tmp_path):
    found = case(tmp_path, "inputs: {a: [1, 2], b: [1, 2.0], c: 3, d: [true], e: ['x']}")
    assert [found.inputs[k].dtype for k in "abcde"] == ["int32", "float32", "int32", "bool", "string"]


def test_defaults_anchors_and_merge_keys_are_inherited(tmp_path):
    path = tmp_path / "s.yaml"
    (tmp_path / "ops.py").write_text("")
    path.write_text(
        "module: ops.py\ndefaults: {order: 2}\ncases:\n  a: &a\n    inputs: {x: {shape: []}}\n    seed: 3\n"
        "  b:\n    <<: *a\n    seed: 4\n"
    )
    a, b = parse(path, "s.yaml").cases
    assert (a.order, a.seed, b.order, b.seed) == (2, 3, 2, 4)
    assert b.inputs == a.inputs


def test_nested_inputs(tmp_path):
    found = case(tmp_path, "inputs: {p: {items: {w: {shape: [2]}, b: 1.0}}, q: {items: [{shape: []}, 2]}}")
    assert found.inputs["p"].items["w"].shape == (2,)
    assert found.inputs["q"].items[1].parameters == 2


def test_five_mistakes_are_listed_at_once_with_their_places(tmp_path):
    found = problems(
        tmp_path,
        """\
        module: missing.py
        cases:
          a:
            inputs:
              x: {shape: [4, -1], dtype: flaot32}
              y: {shape: [2], uniform: {low: 2, high: 1}}
            modes: [eagr]
            ordr: 2
        """,
    )
    assert [(p.line, p.column) for p in found] == [(1, 9), (5, 22), (5, 34), (6, 32), (7, 13), (8, 5)]
    assert "did you mean `float32`?" in found[2].render()
    assert "did you mean `order`?" in found[5].render()
    lines = found[2].render().splitlines()
    assert lines[1].index("flaot32") == lines[2].index("^")


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("kwargs", "did you mean `arguments`?"),
        ("fn", "did you mean `op`?"),
        ("tol", "did you mean `rtol`?"),
        ("modez", "did you mean `modes`?"),
        ("qqqq", "allowed: op, inputs, build,"),
    ],
)
def test_an_unknown_key_is_answered_with_what_it_means_or_with_all_keys(tmp_path, key, told):
    (found,) = problems(tmp_path, f"module: ops.py\ncases: {{a: {{inputs: {{x: 1.0}}, {key}: 1}}}}\n")
    assert f"cases.a.{key}" in found.render()
    assert told in found.render()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("- a\n- b", "must be a mapping"),
        ("module: ops.py\ncases: {}", "must not be empty"),
        ("module: ops.py\ncases:\n  a: {inputs: {x: 1.0}}\n  a: {inputs: {x: 2.0}}", "appears twice"),
        ("module: ops.py\ncases:\n  a: {inputs: {x: !!python/name:os.system ''}}", "is not allowed"),
        ("module: ops.py\ncases:\n  1: {inputs: {x: 1.0}}", "not a string"),
        ("module: ops.py\ncases:\n  a: [", "not valid YAML"),
        ("module: ops.py\ncases:\n\ta: 1", "not valid YAML"),
        ("module: ops.py\ncases:\n  a: {inputs: {x: {shape: [1000000, 1000000]}}}", "GiB"),
        ("module: ops.py\ncases:\n  a: {inputs: {x: [[1.0], [1.0, 2.0]]}}", "different lengths"),
        ("module: ops.py\ncases:\n  a: {inputs: {x: {values: [300], dtype: int8}}}", "does not fit int8"),
        ("module: ops.py\ncases:\n  a: {surrogate: f, expected_vjp: g, inputs: {x: 1.0}}", "contradict"),
        ("module: ops.py\ncases:\n  a: {inputs: {x: {normal: {}, uniform: {}, shape: []}}}", "contradict"),
        ("module: ops.py\ncases:\n  a: {inputs: {x: {dtype: float32}}}", "`shape` is missing"),
        ("module: ops.py\ncases:\n  a: {inputs: {x: {shape: [2, 3], structure: spd}}}", "square"),
        ("module: ops.py\ncases:\n  a: {inputs: {x: {shape: [2], domain: [1, 0]}}}", "not below"),
        (
            "module: ops.py\ncases:\n  a: {inputs: {x: {shape: [2], uniform: {}, avoid: [0.5], margin: 5}}}",
            "leaves no room in `uniform` [0.0, 1.0]",
        ),
        (
            "module: ops.py\ncases:\n  a: {inputs: {x: {shape: [2], linspace: {start: -1}, domain: [0, 2]}}}",
            "goes outside `domain`",
        ),
        (
            "module: ops.py\ncases:\n  a: {inputs: {x: {values: [[1.0, 2.0], [3.0, 1.0]], structure: symmetric}}}",
            "not symmetric: [0, 1] is 2.0, not 3.0",
        ),
        (
            "module: o.py\ncases:\n  a: {inputs: {x: {values: [[1.0, 2.0], [3.0, 1.0]], structure: lower-triangular}}}",
            "not lower-triangular",
        ),
        ("module: ops.py\ncases:\n  a: {upstream: [s.yaml], inputs: {x: 1.0}}", "'s.yaml' is no .npy file"),
        ("module: ops.py\ncases:\n  a-b: {inputs: {x: 1.0}}", "say which with `op:`"),
        ("module: ops.py\ncases:\n  a: {expect: [gradient-mismach], inputs: {x: 1.0}}", "gradient-mismatch"),
    ],
)
def test_bad_specs_say_what_is_wrong(tmp_path, text, message):
    assert any(message in p.render() for p in problems(tmp_path, text))


def test_a_merge_bomb_is_refused_before_it_is_expanded(tmp_path):
    # Found by tests.fuzz.guided: it took seconds to be counted.
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 40)]
    [problem] = problems(tmp_path, "\n".join(lines))
    assert "after aliases are expanded" in problem.message


def test_an_alias_that_holds_itself_is_refused(tmp_path):
    found = problems(tmp_path, "module: o.py\ncases:\n  a: {inputs: {x: &l [1.0, *l, *l]}}\n")
    assert [(p.line, p.message) for p in found] == [(3, "`*l` stands inside what it names")]


def test_a_mapping_that_merges_itself_is_refused(tmp_path):
    found = problems(tmp_path, "module: o.py\ncases:\n  a: &a\n    op: f\n    <<: *a\n")
    assert [(p.line, p.message) for p in found] == [(5, "`*a` stands inside what it names")]


def test_a_second_document_is_refused_at_its_line(tmp_path):
    found = problems(tmp_path, "module: o.py\n---\nmodule: p.py\n")
    assert [(p.line, p.message) for p in found] == [(2, "a second YAML document begins here")]


def test_a_control_character_is_refused_at_its_place(tmp_path):
    found = problems(tmp_path, "module: o.py\ncases: a\0b\n")
    assert [(p.line, p.column) for p in found] == [(2, 9)]
    assert "U+0000" in found[0].message


def test_letters_before_a_control_character_count_as_one_place_each(tmp_path):
    found = problems(tmp_path, "module: o.py # ääää\ncases: äb\0c\n")
    assert [(p.line, p.column) for p in found] == [(2, 10)]


def test_an_alias_bomb_is_refused(tmp_path):
    lines = ["a0: &a0 [1,1,1,1,1,1,1,1,1,1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert any("aliases" in p.message for p in problems(tmp_path, "\n".join(lines)))


def test_not_utf8_is_said(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_bytes(b"module: \xff\xfe")
    with pytest.raises(SpecError, match="UTF-8"):
        parse(path, "s.yaml")
