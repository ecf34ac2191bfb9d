# SPDX-License-Identifier: Apache-2.0
"""What is said of a case whose process did not come to its end."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

from gradcheck.results import Finding
from gradcheck.scanning.returns import source_at
from gradcheck.text import FRAME, user_files


def timed_out(seconds: float, phase: str, output: str) -> Finding:
    """Return the finding for a case that ran longer than `seconds`; `output` ends with where it was."""
    message = f"ran longer than {seconds:g} s, in phase {phase}"
    hint = "an endless loop or a deadlock? if it is only slow, raise `timeout` or make the inputs smaller"
    return _placed("timeout", message, output, hint)


def too_big(held: int, limit: int, phase: str) -> Finding:
    """Return the finding for a case that held more bytes of memory than it may."""
    message = f"held {held / 2**30:.1f} GiB of memory in phase {phase}, its limit is {limit / 2**30:.1f} GiB"
    return Finding("out-of-memory", message, hint="make the inputs smaller, lower -j, or raise --memory-limit")


def died(exit_code: int | None, phase: str, output: str) -> Finding:
    """Return the finding for a case whose process died; `output` is the last that it printed."""
    message = f"the case's process died in phase {phase}: {_how(exit_code)}"
    hint = "its last output is shown" if output else "it printed nothing; run the op alone under a debugger"
    finding = _placed("crashed", message, output, hint)
    if finding.traceback is not None:
        return replace(finding, hint="the lines above ran last: look at the native code that they call")
    return replace(finding, traceback=output or None)


def _placed(code: str, message: str, output: str, hint: str) -> Finding:
    """Return a finding with the user's lines that faulthandler wrote, innermost first, into the output."""
    stack = output[output.rfind("(most recent call first)") :] if "(most recent call first)" in output else ""
    frames = FRAME.findall(stack)
    files = user_files([file for file, _ in reversed(frames)])
    mine = [(file, int(line)) for file, line in frames if file in files]
    if not mine:
        return Finding(code, message, hint=hint)
    file, line = mine[0]
    shown = "\n".join(f'  File "{f}", line {n}' for f, n in reversed(mine))
    at = f"{message} ({os.path.basename(file)}:{line})"
    return Finding(code, at, hint=hint, traceback=shown, file=file, line=line, source=source_at(file, line))


def _how(code: int | None) -> str:
    if code is None:
        return "it closed its connection"
    if code == 0:
        return "it ended itself with exit code 0 (os._exit?)"
    if code < 0:
        try:
            return f"signal {signal.Signals(-code).name}"
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"
