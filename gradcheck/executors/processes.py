# SPDX-License-Identifier: Apache-2.0
"""Run cases in processes: each forked afresh from a server that has only imported TensorFlow.

A case that dies, hangs, prints without end or takes all memory takes nobody along.  Where
fork does not exist, processes are spawned.
"""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import os
import selectors
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any

from gradcheck.engine.limits import Limits
from gradcheck.engine.phases import MENDS, Phases
from gradcheck.engine.status import unfinished
from gradcheck.errors import UsageError, one_line
from gradcheck.events import CaseFinished, CaseProgress, CaseStarted, Event
from gradcheck.executors import child, endings
from gradcheck.executors.clock import RunningClock
from gradcheck.executors.family import Family, default_limit, look
from gradcheck.executors.lifeline import OURS, PARENT, SAFE_PATH
from gradcheck.results import CaseResult, Finding
from gradcheck.spec.model import Case

OUTPUT_LIMIT = 16_384
# What a case is in before it says so.
START = "start"
GRACE_S = 2.0
WATCH_S = 0.2
OPTIONAL_S = 15.0
WHERE_S = 0.3


@dataclass(slots=True)
class _Output:
    """Keep the end of what a case prints, however much that is."""

    pipe: Connection
    kept: bytes = b""

    def read(self) -> bool:
        """Take what is there, without waiting; say whether more may come.

        A writer without end is read a piece at a time.
        """
        for _ in range(16):
            try:
                piece = os.read(self.pipe.fileno(), 65_536)
            except BlockingIOError:
                return True
            except OSError:
                piece = b""
            if not piece:
                return False
            self.kept = (self.kept + piece)[-OUTPUT_LIMIT:]
        return True

    def text(self) -> str:
        return self.kept.decode("utf-8", "replace").strip()


@dataclass(slots=True, eq=False)
class _Running:
    """Hold a case that has a process."""

    case: Case
    process: Any
    messages: Connection
    output: _Output
    family: Family
    started: float
    deadline: float
    phases: Phases = field(default_factory=Phases)
    result: CaseResult | None = None
    known: CaseResult | None = None
    alone: bool = False
    held: int = 0

    @property
    def phase(self) -> str:
        return self.phases.current or START


class Processes:
    """Run each case in a process of its own, at most `jobs` at once.

    `timeout` (seconds) and `memory` (bytes, the processes it starts included) bound a case.
    """

    def __init__(self, jobs: int, limits: Limits, timeout: float | None = None, memory: int | None = None) -> None:
        self.jobs, self.limits, self.timeout = jobs, limits, timeout
        self.memory = memory or default_limit(jobs)
        self.environment: dict[str, Any] = {}
        self._running: list[_Running] = []
        self._leaving: list[_Running] = []
        self._ending: list[Any] = []
        self._clock = RunningClock()
        self._watched = 0.0
        self._signs = selectors.DefaultSelector()
        self._context = start_server()

    def run(self, cases: list[Case]) -> Iterator[Event]:
        """Yield what happens, as it happens."""
        waiting = list(reversed(cases))
        while waiting or self._running:
            while waiting and len(self._running) < self.jobs:
                case = waiting.pop()
                yield CaseStarted(case.id)
                self._running.append(self._start(case))
            self._dismiss()
            yield from self._step()
        self._dismiss()

    def close(self) -> None:
        """End every process that still runs."""
        self._leaving += [running for running in self._running if running not in self._leaving]
        self._running.clear()
        self._signs.close()
        self._dismiss()
        self._reap(GRACE_S)

    def _dismiss(self) -> None:
        """End the processes of finished cases: idle ones once the next has started, so that it need not wait."""
        while self._leaving:
            # An interrupt may come at any line: what is not known to be killed stays to be killed.
            running = self._leaving[-1]
            _kill(running)
            if running.process not in self._ending:
                self._ending.append(running.process)
            self._leaving.pop()

    def _reap(self, patience: float) -> None:
        """Take leave of killed processes; that the system needs a while to end a large one holds up nobody."""
        for process in list(self._ending):
            process.join(patience)
            if process.exitcode is not None:
                process.close()
                self._ending.remove(process)

    def _start(self, case: Case) -> _Running:
        messages, sender = self._context.Pipe(duplex=False)
        output, printer = self._context.Pipe(duplex=False)
        limits = replace(self.limits, seconds=self._seconds(case))
        process = self._begun((case, limits, sender, printer))
        sender.close()
        printer.close()
        os.set_blocking(output.fileno(), False)
        now = self._clock.now()
        family = Family(process.pid)
        running = _Running(case, process, messages, _Output(output), family, now, now + self._seconds(case))
        for sign in (messages, output, process.sentinel):
            self._signs.register(sign, selectors.EVENT_READ, running)
        return running

    def _begun(self, arguments: tuple[Any, ...]) -> Any:
        """Start a child; a fork server that ended just now (killed, out of memory) is started once more."""
        for last in (False, True):
            process = self._context.Process(target=child.main, args=arguments, daemon=False)
            try:
                with _without_main():
                    process.start()
            except (EOFError, OSError) as error:
                if last:
                    raise UsageError(f"cannot start a process for a case: {one_line(error)}") from None
                continue
            break
        return process

    def _seconds(self, case: Case) -> float:
        return self.timeout or case.timeout

    def _step(self) -> Iterator[Event]:
        """Wait for the next sign of life, then handle all that came."""
        patience = max(0.0, min(r.deadline for r in self._running) - self._clock.now())
        signs: dict[_Running, list[Any]] = {}
        for key, _ in self._signs.select(min(patience, WATCH_S)):
            signs.setdefault(key.data, []).append(key.fileobj)
        for running, files in signs.items():
            if running.output.pipe in files and not running.output.read():
                self._signs.unregister(running.output.pipe)
            yield from self._hear(running, ended=running.process.sentinel in files)
        now = self._clock.now()
        if now - self._watched >= WATCH_S:
            self._watched = now
            self._reap(0)
            look([running.family for running in self._running])
            for running in self._running:
                running.held = running.family.held(self.memory)
        for running in list(self._running):
            if running.held > self.memory:
                yield from self._finish(running, self._too_big(running))
            elif now >= running.deadline:
                yield from self._finish(running, self._timed_out(running))

    def _hear(self, running: _Running, ended: bool) -> Iterator[Event]:
        try:
            while running.messages.poll():
                kind, value = running.messages.recv()
                if kind == "started":
                    running.started = self._clock.now()
                    running.deadline = running.started + self._seconds(running.case)
                elif kind == "phase":
                    self._enter(running, *value)
                    yield CaseProgress(running.case.id, running.phase)
                elif kind == "environment":
                    self.environment = value
                elif kind == "result":
                    running.result, running.alone = value
        # A process that dies while it writes leaves half a message, which unpickling may refuse in any way.
        except Exception:
            ended = True
        if running.result is not None:
            yield from self._finish(running, running.result)
        elif ended:
            running.process.join(GRACE_S)
            running.output.read()
            yield from self._finish(running, self._died(running))

    def _enter(self, running: _Running, phase: str, known: CaseResult | None) -> None:
        running.phases.enter(phase)
        running.known = known
        running.deadline = running.started + self._seconds(running.case)
        if known is not None:
            # A last, optional phase: it may take as long as all before, and its end is not waited for.
            now = self._clock.now()
            running.deadline = min(running.deadline, now + max(OPTIONAL_S, now - running.started))

    def _finish(self, running: _Running, result: CaseResult) -> Iterator[Event]:
        self._leaving.append(running)
        self._running.remove(running)
        if running.result is None:
            self._dismiss()
        for sign in (running.messages, running.output.pipe, running.process.sentinel):
            with contextlib.suppress(KeyError):
                self._signs.unregister(sign)
        running.messages.close()
        running.output.pipe.close()
        yield CaseFinished(result)

    def _timed_out(self, running: _Running) -> CaseResult:
        if running.known is not None:
            note = f"{running.phase}: the op did not come to an end there; not checked (a `domain` bounds the inputs)"
            if running.phase == MENDS:
                note = "there was no time left to look for a fix"
            return self._known(running, running.known, note)
        with contextlib.suppress(OSError, TypeError):
            os.kill(running.process.pid, child.WHERE_SIGNAL)
            time.sleep(WHERE_S)
        running.output.read()
        finding = endings.timed_out(self._seconds(running.case), running.phase, running.output.text())
        return self._unfinished(running, finding)

    def _too_big(self, running: _Running) -> CaseResult:
        return self._unfinished(running, endings.too_big(running.held, self.memory, running.phase))

    def _died(self, running: _Running) -> CaseResult:
        if running.known is not None and running.phase == MENDS:
            note = "a mend that was tried ended the process: no further one was looked for"
            return self._known(running, running.known, note)
        return self._unfinished(running, endings.died(running.process.exitcode, running.phase, running.output.text()))

    def _known(self, running: _Running, known: CaseResult, note: str) -> CaseResult:
        """Return what was known before an optional phase that did not end well, with a note that says so."""
        return replace(known, duration_s=self._clock.now() - running.started, notes=(*known.notes, note))

    def _unfinished(self, running: _Running, finding: Finding) -> CaseResult:
        running.phases.leave()
        spent = self._clock.now() - running.started
        return unfinished(running.case, finding, spent, running.output.text(), running.phases.seconds)


def start_server() -> Any:
    """Start the fork server, which imports TensorFlow meanwhile; return its context.

    Raises UsageError where the machine does not let it start.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "forkserver" not in mp.get_all_start_methods():
        return mp.get_context("spawn")
    from multiprocessing import forkserver, resource_tracker

    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["gradcheck.executors.warm", "gradcheck.executors.child"])
    ours = {PARENT: str(os.getpid())}
    if SAFE_PATH not in os.environ:
        # No file of the folder where gradcheck happens to run takes the place of a library.
        ours[SAFE_PATH] = OURS
    os.environ.update(ours)
    masked: Iterable[int] = ()
    try:
        with _without_main():
            # Started first, because it lets signals through when it has started.
            resource_tracker.ensure_running()
            # Ctrl-C while the server starts is for this process alone; the server ignores it once it can.
            masked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            forkserver.ensure_running()
    except OSError as error:
        raise UsageError(
            f"cannot start a process for TensorFlow: {one_line(error)}; see that the current folder exists and that"
            f" TMPDIR ({tempfile.gettempdir()}) is a short path with space left"
        ) from None
    finally:
        if signal.SIGINT not in masked:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        for name in ours:
            os.environ.pop(name, None)
    return context


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Keep what is started from running the user's script again, as multiprocessing has its children do."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _kill(running: _Running) -> None:
    """End a process and all that it started."""
    process, pid = running.process, running.process.pid
    if not running.alone:
        running.family.kill()
    # The child made itself a group leader; before it has, there is no such group.
    with contextlib.suppress(OSError, TypeError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(Exception):
        process.kill()
