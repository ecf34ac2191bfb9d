# SPDX-License-Identifier: Apache-2.0
"""Run the command line, as `gradcheck` and as `python -m gradcheck`."""

from __future__ import annotations

import signal
import sys


def entry() -> None:
    """Run the command line and leave with its exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until `main` listens, Ctrl-C ends the process as it ends any program, without a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from gradcheck.cli import main

    code = main()
    # All is written; a signal that comes while Python ends must not change the exit code.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


if __name__ == "__main__":
    entry()
