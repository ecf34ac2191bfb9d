"""The line on which a function returned is the one that ran."""

from __future__ import annotations

import sys

from gradcheck.backend.tensorflow.returned import lines_run


def branch(flag):
    if flag:
        return 1
    return 2


def place():
    code = branch.__code__
    return code.co_filename, code.co_firstlineno, code.co_name


def test_the_return_that_ran_is_named():
    first = branch.__code__.co_firstlineno
    assert lines_run(*place(), lambda: branch(True))[-1] == first + 2
    assert lines_run(*place(), lambda: branch(False))[-1] == first + 3


def test_the_lines_of_a_branch_that_was_not_taken_are_left_out():
    first = branch.__code__.co_firstlineno
    assert first + 2 not in lines_run(*place(), lambda: branch(False))
    assert set(lines_run(*place(), lambda: (branch(True), branch(False)))) == {first + 1, first + 3}


def test_a_function_that_did_not_run_has_no_line():
    assert lines_run(*place(), lambda: None) == ()


def test_whoever_traces_already_goes_on():
    before = sys.gettrace()
    lines_run(*place(), lambda: branch(True))
    assert sys.gettrace() is before
