"""A case that did not come to its end is told with how, in which phase, and at which line of the user's."""

import signal
import subprocess
import sys

import pytest

from gradcheck.executors import endings

WAITS = """
import faulthandler, signal
def forward():
    faulthandler.dump_traceback()
forward()
"""


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (-signal.SIGSEGV, "signal SIGSEGV"),
        (-signal.SIGRTMIN - 1, f"signal {signal.SIGRTMIN + 1}"),
        (3, "exit code 3"),
        (0, "exit code 0 (os._exit?)"),
        (None, "closed its connection"),
    ],
)
def test_how_a_process_died_is_told(code, told):
    finding = endings.died(code, "contract", "")
    assert finding.code == "crashed"
    assert "in phase contract" in finding.message
    assert told in finding.message


def test_the_last_output_of_a_dead_process_is_kept():
    assert endings.died(1, "import", "last words").traceback == "last words"


def test_the_innermost_line_of_the_user_is_named(tmp_path):
    module = tmp_path / "ops.py"
    module.write_text(WAITS)
    output = subprocess.run([sys.executable, module], capture_output=True, text=True).stderr
    finding = endings.timed_out(2.5, "determinism", output)
    assert (finding.code, finding.file, finding.line) == ("timeout", str(module), 4)
    assert "2.5 s" in finding.message
    assert finding.traceback.splitlines()[-1] == f'  File "{module}", line 4'


def test_memory_is_told_beside_its_limit():
    assert (
        "3.0 GiB of memory in phase trace, its limit is 1.5 GiB"
        in endings.too_big(3 * 2**30, 3 * 2**29, "trace").message
    )
