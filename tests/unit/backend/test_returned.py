"""The line on which a function returned is the one that ran."""

from __future__ import annotations

import sys

from gradcheck.backend.tensorflow.returned import last_return


def branch(flag):
    if flag:
        return 1
    return 2


def place():
    code = branch.__code__
    return code.co_filename, code.co_firstlineno, code.co_name


def test_the_return_that_ran_is_named():
    first = branch.__code__.co_firstlineno
    assert last_return(*place(), lambda: branch(True)) == first + 2
    assert last_return(*place(), lambda: branch(False)) == first + 3


def test_a_function_that_did_not_run_has_no_line():
    assert last_return(*place(), lambda: None) == 0


def test_whoever_traces_already_goes_on():
    before = sys.gettrace()
    last_return(*place(), lambda: branch(True))
    assert sys.gettrace() is before
