"""Findings written into the text of a spec."""

from __future__ import annotations

import pytest
import yaml

from gradcheck.errors import UsageError
from gradcheck.spec.accept import accepted

BLOCK = """# ours
module: ops.py   # the ops
cases:
  square:        # a comment
    # another
    inputs:
      x: {shape: [4, 3]}

  cube: {inputs: {x: 1.0}}
"""


def body(text, case):
    return yaml.safe_load(text)["cases"][case]


def test_a_block_case_keeps_its_comments_and_layout():
    text = accepted(BLOCK, "s.yaml", {"square": ["gradient-mismatch/zero"]}, "today")
    assert text == BLOCK.replace(
        "    inputs:\n      x: {shape: [4, 3]}\n",
        '    expect: [gradient-mismatch/zero]\n    reason: "today"\n    inputs:\n      x: {shape: [4, 3]}\n',
    )


def test_a_flow_case_stays_on_its_line():
    text = accepted(BLOCK, "s.yaml", {"cube": ["gradient-shape", "gradient-dtype"]}, "today")
    assert '  cube: {expect: [gradient-shape, gradient-dtype], reason: "today", inputs: {x: 1.0}}\n' in text


@pytest.mark.parametrize("expect", ["expect: [gradient-shape]  # known", "expect:\n    - gradient-shape  # known"])
def test_an_expectation_that_is_there_is_replaced_and_its_reason_kept(expect):
    text = f"module: o.py\ncases:\n  f:\n    {expect}\n    reason: mine\n    inputs: {{x: 1.0}}\n"
    case = body(accepted(text, "s.yaml", {"f": ["gradient-dtype"]}, "today"), "f")
    assert case == {"expect": ["gradient-dtype"], "reason": "mine", "inputs": {"x": 1.0}}


def test_windows_line_ends_stay():
    text = accepted(BLOCK.replace("\n", "\r\n"), "s.yaml", {"square": ["gradient-shape"]}, "today")
    assert "\n" not in text.replace("\r\n", "")


def test_several_cases_at_once():
    text = accepted(BLOCK, "s.yaml", {"square": ["gradient-shape"], "cube": ["gradient-dtype"]}, "today")
    assert body(text, "square")["expect"] == ["gradient-shape"]
    assert body(text, "cube")["expect"] == ["gradient-dtype"]


def test_a_case_that_is_an_alias_is_left_to_its_author():
    text = "module: o.py\ncases:\n  f: &f {inputs: {x: 1.0}}\n  g: *f\n"
    with pytest.raises(UsageError, match=r"s.yaml::f: `expect` cannot be written there"):
        accepted(text, "s.yaml", {"f": ["gradient-shape"]}, "today")
