"""What a process starts belongs to it, also what others start in its name, and to no other."""

import subprocess
import sys
import time

import psutil
import pytest

from gradcheck.executors.family import Family, look

SLEEP = "import time; time.sleep(60)"
STARTS_ONE = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}])"


@pytest.fixture
def started():
    processes = [subprocess.Popen([sys.executable, "-c", code]) for code in (STARTS_ONE, SLEEP)]
    yield processes
    for process in processes:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        process.wait()


def _look_until_found(parent, *others):
    for _ in range(200):
        look([parent, *others])
        if parent.children:
            return
        time.sleep(0.05)


def test_one_look_tells_every_family_its_own_children(started):
    parent, childless = (Family(process.pid) for process in started)
    _look_until_found(parent, childless)
    assert {child.ppid() for child in parent.children} == {parent.pid}
    assert not childless.children


def test_what_a_family_holds_counts_its_children(started):
    parent = Family(started[0].pid)
    alone = parent.held(2**40)
    _look_until_found(parent)
    assert parent.held(2**40) > alone > 0
