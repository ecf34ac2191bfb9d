"""Run cases in processes: each forked afresh from a server that has only imported TensorFlow.

A case that dies or hangs takes nobody along.  Where fork does not exist, processes are
spawned.
"""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from gradcheck.events import CaseFinished, CaseProgress, CaseStarted, Event
from gradcheck.results import CaseResult, Finding
from gradcheck.spec.model import Case
from gradcheck.worker import Limits, unfinished

OUTPUT_LIMIT = 16_384
GRACE_S = 2.0


@dataclass(slots=True)
class _Running:
    """Hold a case that has a process."""

    case: Case
    process: Any
    connection: Connection
    output: str
    started: float
    deadline: float
    phase: str = "start"
    result: CaseResult | None = None


class Processes:
    """Run each case in a process of its own, at most `jobs` at once."""

    def __init__(self, jobs: int, limits: Limits, timeout: float | None = None) -> None:
        self.jobs, self.limits, self.timeout = jobs, limits, timeout
        self.environment: dict[str, Any] = {}
        self._running: list[_Running] = []
        self._folder = tempfile.TemporaryDirectory(prefix="gradcheck-")
        self._context = start_server()

    def run(self, cases: list[Case]) -> Iterator[Event]:
        """Yield what happens, as it happens."""
        waiting = list(reversed(cases))
        while waiting or self._running:
            while waiting and len(self._running) < self.jobs:
                case = waiting.pop()
                yield CaseStarted(case.id)
                self._running.append(self._start(case))
            yield from self._step()

    def close(self) -> None:
        """End every process that still runs."""
        for running in self._running:
            _kill(running.process)
        self._running.clear()
        self._folder.cleanup()

    def _start(self, case: Case) -> _Running:
        receiver, sender = self._context.Pipe(duplex=False)
        number = len(os.listdir(self._folder.name))
        output = os.path.join(self._folder.name, f"{number}.txt")
        process = self._context.Process(target=_child, args=(case, self.limits, sender, output), daemon=False)
        process.start()
        sender.close()
        now = time.monotonic()
        return _Running(case, process, receiver, output, now, now + (self.timeout or case.timeout))

    def _step(self) -> Iterator[Event]:
        """Wait for the next sign of life, then handle all that came."""
        now = time.monotonic()
        patience = max(0.0, min(r.deadline for r in self._running) - now)
        by_object: dict[Any, _Running] = {}
        for running in self._running:
            by_object[running.connection] = running
            by_object[running.process.sentinel] = running
        ready = wait(list(by_object), timeout=min(patience, 0.5))
        for running in {id(by_object[r]): by_object[r] for r in ready}.values():
            yield from self._hear(running)
        for running in list(self._running):
            if running.result is None and time.monotonic() >= running.deadline:
                yield from self._finish(running, self._timed_out(running))

    def _hear(self, running: _Running) -> Iterator[Event]:
        alive = running.process.is_alive()
        try:
            while running.connection.poll():
                kind, value = running.connection.recv()
                if kind == "started":
                    running.started = time.monotonic()
                    running.deadline = running.started + (self.timeout or running.case.timeout)
                elif kind == "phase":
                    running.phase = value
                    yield CaseProgress(running.case.id, value)
                elif kind == "environment":
                    self.environment = value
                elif kind == "result":
                    running.result = value
        except (EOFError, OSError):
            alive = False
        except Exception:
            alive = False
        if running.result is not None:
            yield from self._finish(running, running.result)
        elif not alive:
            running.process.join(GRACE_S)
            yield from self._finish(running, self._died(running))

    def _finish(self, running: _Running, result: CaseResult) -> Iterator[Event]:
        _kill(running.process)
        running.connection.close()
        self._running.remove(running)
        with contextlib.suppress(OSError):
            os.truncate(running.output, 0)
        yield CaseFinished(result)

    def _timed_out(self, running: _Running) -> CaseResult:
        spent = time.monotonic() - running.started
        limit = self.timeout or running.case.timeout
        message = f"ran longer than {limit:g} s, in phase {running.phase}"
        finding = Finding("timeout", message, hint="raise `timeout`, or make the inputs smaller")
        return unfinished(running.case, finding, spent, _tail(running.output))

    def _died(self, running: _Running) -> CaseResult:
        spent = time.monotonic() - running.started
        output = _tail(running.output)
        how = _how_it_died(running.process.exitcode)
        finding = Finding(
            "crashed",
            f"the case's process died in phase {running.phase}: {how}",
            hint="its last output is shown" if output else "it printed nothing; run the op alone under a debugger",
            traceback=output or None,
        )
        return unfinished(running.case, finding, spent, output)


def start_server() -> Any:
    """Start the fork server, which imports TensorFlow meanwhile; return its context."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "forkserver" not in mp.get_all_start_methods():
        return mp.get_context("spawn")
    from multiprocessing import forkserver

    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["gradcheck.warm"])
    forkserver.ensure_running()
    return context


def _child(case: Case, limits: Limits, connection: Connection, output: str) -> None:
    """Check one case; runs in the child process."""
    with contextlib.suppress(OSError):
        os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _capture(output)
    send: Callable[[Any], None] = connection.send
    send(("started", None))
    from gradcheck.worker import check_case

    result = check_case(case, limits, lambda phase: send(("phase", phase)))
    with contextlib.suppress(Exception):
        from gradcheck.autodiff.runtime import environment

        send(("environment", environment()))
    send(("result", result))
    connection.close()
    # No interpreter shutdown: threads and exit handlers of the user's code must not hold the run.
    os._exit(0)


def _capture(output: str) -> None:
    """Send standard output and error of this process to a file."""
    target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)


def _kill(process: Any) -> None:
    """End a process and all that it started."""
    pid = process.pid
    with contextlib.suppress(OSError, ProcessLookupError, TypeError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(Exception):
        if process.is_alive():
            process.kill()
        process.join(GRACE_S)


def _how_it_died(code: int | None) -> str:
    if code is None:
        return "it closed its connection"
    if code < 0:
        try:
            return f"signal {signal.Signals(-code).name}"
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"


def _tail(path: str) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - OUTPUT_LIMIT))
            return file.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""
