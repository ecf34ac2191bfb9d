# SPDX-License-Identifier: Apache-2.0
"""Run the user's program with the recorder in it, and wait until its last check is done."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gradcheck.errors import UsageError
from gradcheck.recording import hook
from gradcheck.recording.settings import CURRENT, ENDED, Settings

_PYTHON = re.compile(r"python(3(\.\d+)?)?(\.exe)?")
# How often the program is looked at, and what a check may take beyond its limit before its process is ended.
POLL_S = 0.1
GRACE_S = 20.0


def command_of(words: Sequence[str]) -> list[str]:
    """Return the command to start: scripts, `-m MODULE` and a bare `python` run with this Python.

    Raises UsageError for a command that is not there.
    """
    first = words[0]
    if first == "-m" or first == "-c":
        return [sys.executable, *words]
    if _PYTHON.fullmatch(first):
        return [sys.executable, *words[1:]]
    if first.endswith(".py"):
        if not Path(first).is_file():
            raise UsageError(f"record: there is no file '{first}'")
        return [sys.executable, *words]
    if shutil.which(first) is None:
        raise UsageError(f"record: there is no command '{first}'; give a script, `-m MODULE` or a program")
    return list(words)


def run_program(command: Sequence[str], settings: Settings) -> int:
    """Run a command to its end and return its exit code, 128 + n for a signal n.

    Ctrl-C and termination are the program's: they are handed on, and its end is awaited.
    """
    environment = {**os.environ, **settings.variables()}
    paths = [os.path.dirname(os.path.abspath(hook.__file__)), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    try:
        process = subprocess.Popen(list(command), env=environment)
    except OSError as error:
        raise UsageError(f"record: {command[0]} cannot be started: {error.strerror or error}") from None
    with _signals_for(process):
        code = _wait(process, settings)
    return code if code >= 0 else 128 - code


def _wait(process: subprocess.Popen[bytes], settings: Settings) -> int:
    while True:
        try:
            return process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            if _hangs(Path(settings.folder), settings.timeout):
                process.kill()


def _hangs(folder: Path, timeout: float) -> bool:
    """Return whether a check of recorded calls runs far longer than it may."""
    now = time.time()
    for current in folder.glob(f"*/{CURRENT}"):
        with contextlib.suppress(OSError):
            if now - current.stat().st_mtime > timeout + GRACE_S and (current.parent / ENDED).exists():
                return True
    return False


@contextlib.contextmanager
def _signals_for(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Hand SIGINT and SIGTERM on to the program; a terminal sends Ctrl-C to it by itself."""

    def hand_on(number: int, frame: Any) -> None:
        from_terminal = number == signal.SIGINT and os.isatty(0)
        if not from_terminal:
            with contextlib.suppress(OSError):
                process.send_signal(number)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
