"""The case's side of the pipe: a process of its own group that checks one case and says so."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from gradcheck.executors.lifeline import die_with_parent
from gradcheck.spec.model import Case
from gradcheck.worker import Limits


def main(case: Case, limits: Limits, messages: Connection, output: Connection) -> None:
    """Check one case and send what happens; never returns."""
    with contextlib.suppress(OSError):
        os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent()
    _redirect(output)
    # Kept from the user's code, which may replace or close anything that has a name.
    send: Callable[[Any], None] = messages.send
    leave = os._exit
    send(("started", None))
    from gradcheck.worker import check_case

    result = check_case(case, limits, lambda phase: send(("phase", phase)))
    with contextlib.suppress(Exception):
        from gradcheck.autodiff.runtime import environment

        send(("environment", environment()))
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    send(("result", result))
    messages.close()
    # No interpreter shutdown: threads and exit handlers of the user's code must not hold the run.
    leave(0)


def _redirect(output: Connection) -> None:
    """Send standard output and error of this process, C code's included, into a pipe."""
    for descriptor in (1, 2):
        os.dup2(output.fileno(), descriptor)
    output.close()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
