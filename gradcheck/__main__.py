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

    sys.exit(main())


if __name__ == "__main__":
    entry()
