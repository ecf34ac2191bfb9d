"""Text from a spec, a module, a message or a file name drives neither a terminal nor a CI runner, in any output."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from gradcheck.cli import main

# A colour, a window title, a C1 control, a change of direction, commands of GitHub and Azure.
HOSTILE = (
    "\\x1b[31m\\x1b]0;owned\\x07\\x9b31m\\u202e\\n::error::pwn\\n   ::stop-commands::t\\n##[error]x ##vso[task.x]y"
)
OPS = f'''
import tensorflow as tf

TEXT = "{HOSTILE}"


def raises(x):
    raise ValueError(TEXT)


@tf.custom_gradient
def wrong(x):
    def grad(upstream):
        print(TEXT)
        return 3.0 * x * tf.convert_to_tensor(upstream)

    grad.__name__ = grad.__qualname__ = TEXT
    return x * x, grad


class Layer(tf.keras.layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=(), initializer="ones")

    def call(self, x):
        return tf.stop_gradient(x) * tf.round(self.scale)


def raises_in_gradient(x):
    @tf.custom_gradient
    def op(x):
        def grad(upstream):
            raise RuntimeError(TEXT)

        return x * x, grad

    return op(x)
'''
SPEC = f'''
module: ops.py
defaults: {{modes: [eager]}}
cases:
  raises: {{reason: "{HOSTILE}", inputs: {{x: {{shape: [2]}}}}}}
  wrong: {{inputs: {{x: {{shape: [2]}}}}}}
  skipped: {{op: wrong, skip: "{HOSTILE}", inputs: {{x: {{shape: [2]}}}}}}
  Layer: {{inputs: {{x: {{shape: [2]}}}}}}
  raises_in_gradient: {{arguments: {{}}, inputs: {{x: {{shape: [2]}}}}}}
'''
BAD = f'''
module: ops.py
cases:
  a: {{op: "{HOSTILE}", tags: ["{HOSTILE}"], expect: ["{HOSTILE}"], modes: ["{HOSTILE}"], inputs: {{"{HOSTILE}": 1.0}}}}
  b: {{"{HOSTILE}": 1, op: wrong, inputs: {{x: {{shape: "{HOSTILE}"}}}}}}
"{HOSTILE}": 2
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    place = tmp_path / "a\x1b[31m\u202e\n::error::b"
    place.mkdir()
    (place / "ops.py").write_text(OPS)
    (place / "spec.yaml").write_text(SPEC)
    (tmp_path / "ops.py").write_text(OPS)
    (tmp_path / "bad.yaml").write_text(BAD)
    monkeypatch.chdir(tmp_path)
    return place


def dangerous(text: str, own: str = "") -> list[str]:
    """Return the lines that a terminal or a runner would act on; `own` is what gradcheck itself may begin with."""
    lines = text.splitlines()
    found = [line for line in lines if any(not (c.isprintable() or c == "\t") for c in line)]
    found += [line for line in lines if re.match(r"\s*::", line) and not (own and re.match(own, line))]
    return found + [line for line in lines if re.search(r"##(\[|vso\[)", line)]


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["-v"],
        ["-q"],
        ["--output", "concise"],
        ["--format", "jsonl"],
        ["--format", "json"],
        ["--save-failures", "o"],
    ],
    ids=lambda options: " ".join(options) or "plain",
)
def test_a_run_prints_nothing_that_acts(folder, capsys, options):
    main(["run", str(folder), *options])
    out, err = capsys.readouterr()
    assert "wrong" in out
    assert not dangerous(out)
    assert not dangerous(err)


def test_annotations_stand_outside_of_the_users_text(folder, capsys):
    main(["run", str(folder), "--format", "github"])
    out, err = capsys.readouterr()
    token = re.search(r"^::stop-commands::([0-9a-f]{32})$", out, re.MULTILINE).group(1)
    own = rf"::(stop-commands::{token}|{token}::|error |warning |group::|endgroup::|notice )"
    assert not dangerous(out, own)
    assert not dangerous(err)


@pytest.mark.parametrize("command", ["validate", "list", "run"])
def test_problems_of_a_spec_are_told_in_lines_of_their_own(folder, capsys, command):
    assert main([command, "bad.yaml"]) == 2
    out, err = capsys.readouterr()
    assert "bad.yaml:" in err
    assert not dangerous(out + err)


@pytest.mark.parametrize("words", [["run"], ["explain"], ["run", "-k"], ["scaffold", "--from"], ["list"], ["validate"]])
def test_usage_errors_are_one_line(folder, capsys, words):
    text = HOSTILE.encode().decode("unicode_escape")
    assert main([*words, text]) in (2, 5)
    out, err = capsys.readouterr()
    assert not dangerous(out + err)


def test_ids_are_listed_without_what_acts(folder, capsys):
    assert main(["list", str(folder)]) == 0
    out, _ = capsys.readouterr()
    assert len(out.splitlines()) == 5
    assert not dangerous(out)


def test_files_hold_text_as_text(folder, capsys):
    files = {name: f"out.{name}" for name in ("html", "junit", "sarif", "json")}
    main(["run", str(folder), "-q", *[word for name, file in files.items() for word in (f"--{name}", file)]])
    capsys.readouterr()
    page = (folder.parent / "out.html").read_text()
    assert "\x1b" not in page
    assert "\u202e" not in page
    ET.parse(folder.parent / "out.junit")
    for name in ("junit", "sarif", "json"):
        assert "\x1b" not in (folder.parent / f"out.{name}").read_text()
