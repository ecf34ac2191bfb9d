"""Tests of what counts as the user's code in a traceback."""

from __future__ import annotations

import os

from gradcheck import text
from gradcheck.text import user_files

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
