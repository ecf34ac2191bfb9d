# SPDX-License-Identifier: Apache-2.0
"""Standard streams that are closed, or that nobody reads any more, lead nowhere."""

from __future__ import annotations

import os
import sys


def open_closed() -> None:
    """Give a program started without standard streams (`>&-`) ones that lead nowhere."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            # Nothing else may get this number: what is printed would be written there.
            opened = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(opened, True)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115


def write_to_nobody() -> None:
    """Lead standard output nowhere, so that its reader, who went away, is not written to at the end either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
