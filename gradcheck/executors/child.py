# SPDX-License-Identifier: Apache-2.0
"""The case's side of the pipe: a process of its own group that checks one case and says so."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

from gradcheck.engine.limits import Limits
from gradcheck.executors.conversions import remove_conversions
from gradcheck.executors.family import MARK
from gradcheck.executors.lifeline import adopt_orphans, die_with_parent
from gradcheck.spec.model import Case
from gradcheck.ways import SAVED

FAREWELL_S = 30.0
# Asked with this signal, a case that hangs says where it is.
WHERE_SIGNAL = signal.SIGUSR1


def main(case: Case, limits: Limits, messages: Connection, output: Connection) -> None:
    """Check one case and send what happens; never returns."""
    with contextlib.suppress(OSError):
        os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent()
    adopt_orphans()
    os.environ[MARK] = str(os.getpid())
    _redirect(output)
    if SAVED in case.modes:
        from gradcheck.backend.tensorflow.fresh_process import fork_ahead

        fork_ahead()
    faulthandler.enable()
    faulthandler.register(WHERE_SIGNAL, all_threads=False)
    # Kept from the user's code, which may replace or close anything that has a name.
    leave, number, own = os._exit, os.getpid, os.getpid()

    def send(message: Any) -> None:
        # What the user's code forked has no business on this pipe.
        if number() != own:
            leave(0)
        messages.send(message)

    send(("started", None))
    from gradcheck.engine.case import check_case

    result = check_case(case, limits, lambda phase, known: send(("phase", (phase, known))))
    with contextlib.suppress(Exception):
        from gradcheck.backend.tensorflow.runtime import environment

        send(("environment", environment()))
        remove_conversions(since=__name__)
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    send(("result", (result, _is_alone())))
    # The parent ends this process with all that it started, which it finds only while this one lives;
    # and there is no interpreter shutdown: exit handlers of the user's code must not hold the run.
    time.sleep(FAREWELL_S)
    leave(0)


def _is_alone() -> bool:
    """Return whether nothing runs that this process or what it adopted has started."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return True
    # Where processes cannot be asked for, or a signal came: not known.
    except (OSError, AttributeError):
        pass
    return False


def _redirect(output: Connection) -> None:
    """Send standard output and error of this process, C code's included, into a pipe."""
    for descriptor in (1, 2):
        os.dup2(output.fileno(), descriptor)
    output.close()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
