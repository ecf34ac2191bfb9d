"""Tests of what counts as the user's code in a traceback."""

from __future__ import annotations

import os
import subprocess

import pytest

from gradcheck import text
from gradcheck.text import clean, clean_line, quoted, user_files

OURS = os.path.join(os.path.dirname(text.__file__), "engine", "plan.py")
SITE = "/usr/lib/python3.11/site-packages"
OP = f"{SITE}/mypkg/ops.py"


def test_the_users_own_files_come_before_installed_ones():
    assert user_files([OURS, "/home/me/ops.py", f"{SITE}/scipy/special.py"]) == {"/home/me/ops.py"}


def test_of_installed_packages_the_one_that_was_entered_first_holds_the_op():
    files = [OURS, f"{SITE}/tensorflow/python/custom_gradient.py", OP, f"{SITE}/scipy/special.py"]
    assert user_files(files) == {OP}


def test_frameworks_and_the_standard_library_are_nobodys_op():
    files = [
        OURS,
        f"{SITE}/tensorflow/ops.py",
        f"{SITE}/keras/src/layer.py",
        "/usr/lib/python3.11/threading.py",
        "<string>",
    ]
    assert user_files(files) == set()


def test_a_folder_named_after_a_framework_is_the_users():
    assert user_files(["/home/me/tensorflow/ops.py"]) == {"/home/me/tensorflow/ops.py"}


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("::error::x", ": :error::x"),
        ("  ::stop-commands::t", "  : :stop-commands::t"),
        ("a ##[error]x ##vso[task]y", "a # #[error]x # #vso[task]y"),
        ("\x1b[31mred\x9b\u202e", "?[31mred??"),
        ("spec.yaml::case", "spec.yaml::case"),
        ("one\n::two", "one\n: :two"),
    ],
)
def test_text_from_outside_drives_neither_a_terminal_nor_a_runner(hostile, shown):
    assert clean(hostile) == shown


def test_one_line_stays_one_line():
    assert clean_line("a\n::error::b\r") == "a\\n::error::b\\r"


@pytest.mark.parametrize("word", ["plain", "with space", "it's", "a\x1b]0;x\x07b", "n\nl", "b\\s\x01'q", "nu\udcff"])
def test_a_quoted_word_is_what_a_shell_gives_back(word):
    found = subprocess.run(["bash", "-c", f"printf %s {quoted(word)}"], capture_output=True, check=True)
    assert found.stdout == word.encode("utf-8", "surrogateescape")
    assert quoted(word).isprintable()
