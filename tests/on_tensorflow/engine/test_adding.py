"""A check, an exemption and a mode are added in one place each, and serve everywhere."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import tensorflow as tf

import gradcheck
from gradcheck.checks import CHECKS
from gradcheck.checks.check import CUSTOM, Check
from gradcheck.results import Finding
from gradcheck.verdict import exemptions
from gradcheck.verdict.exemptions import Rule
from tests.conftest import ROOT

X = np.linspace(0.5, 2.0, 4, dtype=np.float32)


def plain(x):
    return tf.sin(x)


@tf.custom_gradient
def tripled(x):
    return x * x, lambda upstream: tf.convert_to_tensor(upstream) * 3.0 * x


@tf.custom_gradient
def right_up_to_forty(x):
    slope = tf.where(tf.abs(x) < 40.0, 2.0 * x, 0.0)
    return x * x, lambda upstream: tf.convert_to_tensor(upstream) * slope


def ask(lab, found):
    yield Finding("inconclusive", f"{len(lab.slots)} inputs were looked at")


DUMMY = Check("dummy", "dummy", ask, (CUSTOM,))


def test_a_check_is_added_by_its_entry_alone(monkeypatch):
    monkeypatch.setattr("gradcheck.engine.plan.CHECKS", (*CHECKS, DUMMY))
    result = gradcheck.check(tripled, {"x": X}, modes=["eager"])
    (finding,) = [f for f in result.findings if f.code == "inconclusive"]
    # What the check leaves open is filled in by its measurement and the catalogue.
    assert (finding.level, finding.mode, finding.dtype) == ("warning", "eager", "float32")
    assert "dummy" in result.phases_s


def test_a_check_that_lacks_what_it_needs_is_skipped_with_the_reason(monkeypatch):
    monkeypatch.setattr("gradcheck.engine.plan.CHECKS", (*CHECKS, DUMMY))
    result = gradcheck.check(plain, {"x": X}, modes=["eager"])
    assert [s.reason for s in result.skipped_checks if s.name == "dummy"] == ["the op has no custom gradient"]


def test_an_exemption_that_is_added_holds_at_the_sample_and_far_from_it(monkeypatch):
    everything = Rule("it is a dummy", lambda d, op: np.ones(d.found.size, bool))
    options = {"x": X}, {"modes": ["eager"]}
    assert gradcheck.check(tripled, options[0], **options[1]).status == "failed"
    assert gradcheck.check(right_up_to_forty, options[0], **options[1]).status == "failed"
    monkeypatch.setattr(exemptions, "EXEMPTIONS", (*exemptions.EXEMPTIONS, everything))
    for op, check in ((tripled, "slopes"), (right_up_to_forty, "values far away")):
        result = gradcheck.check(op, options[0], **options[1])
        assert result.status == "passed", result.findings
        assert ("it is a dummy", check) in {(e.reason, e.check) for e in result.exemptions}


WITH_A_MODE = """
import sys
import types
from pathlib import Path

import gradcheck

path = Path(gradcheck.__file__).with_name("ways.py")
text = path.read_text()
old = "MODES = (EAGER_MODE, FUNCTION, XLA)"
assert old in text
ways = types.ModuleType("gradcheck.ways")
sys.modules["gradcheck.ways"] = ways
exec(compile(text.replace(old, old[:-1] + ', "again")'), str(path), "exec"), vars(ways))

import tensorflow as tf


def op(factor):
    @tf.custom_gradient
    def square(x):
        def grad(u):
            return tf.convert_to_tensor(u) * (2.0 if tf.executing_eagerly() else factor) * x

        return x * x, grad

    return square


for factor in (2.0, 3.0):
    found = gradcheck.check(op(factor), {"x": {"shape": [4]}}, modes=["eager", "again"])
    print(found.status, {c.mode for c in found.comparisons} >= {"again"}, [(f.code, f.mode) for f in found.findings])
"""


def test_a_mode_is_added_by_its_name_alone():
    done = subprocess.run([sys.executable, "-c", WITH_A_MODE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [
        "passed True []",
        "failed True [('mode-mismatch', 'again')]",
    ], done.stderr[-2000:]
