# SPDX-License-Identifier: Apache-2.0
"""What runs on a Dask worker: a process of its own that checks cases one after another.

Dask's workers may be daemonic and may not start the processes that a case needs, so a plain
program stands between (`python -m gradcheck.executors.remote`); it stays warm for the next case.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from gradcheck.engine.limits import Limits
from gradcheck.executors.parcel import Parcel, moved, unpack
from gradcheck.results import CaseResult
from gradcheck.spec.model import Case

CANCEL_S = 0.3


@dataclass(frozen=True, slots=True)
class Request:
    """Ask for the check of one case."""

    case: Case
    limits: Limits
    timeout: float | None
    memory: int | None


def check(case: Case, parcel: Parcel, limits: Limits, timeout: float | None, memory: int | None, topic: str) -> Any:
    """Check a case on this worker; return (result, environment).  Runs as a Dask task."""
    from distributed import get_worker

    worker = get_worker()
    worker.log_event(topic, {"id": case.id, "worker": worker.address})
    folder = unpack(parcel)
    threads = max(1, len(os.sched_getaffinity(0)) // worker.state.nthreads) if hasattr(os, "sched_getaffinity") else 1
    request = Request(moved(case, parcel, folder), replace(limits, threads=threads), timeout, memory)
    server = _take(folder if not case.module.endswith(".py") else None)
    try:
        result, environment = server.ask(request, lambda: _cancelled(worker, worker.get_current_task()))
    except BaseException:
        server.end()
        raise
    _idle.append(server)
    return _back(result, str(folder), parcel.root), environment


def _cancelled(worker: Any, key: Any) -> bool:
    task = worker.state.tasks.get(key)
    return task is None or task.state == "cancelled"


class Cancelled(Exception):
    """Report that nobody waits for the result any more."""


class _Server:
    """Hold a warm checking process and the pipe to it."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        command = [sys.executable, "-m", "gradcheck.executors.remote"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder, start_new_session=True
        )

    def ask(self, request: Request, cancelled: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        _write(self.process.stdin, request)
        answer: list[Any] = []
        source = self.process.stdout
        reader = threading.Thread(target=lambda: answer.append(_read(source)), daemon=True)
        reader.start()
        while reader.is_alive():
            reader.join(CANCEL_S)
            if reader.is_alive() and cancelled():
                raise Cancelled
        if answer and answer[0] is not None:
            return answer[0]
        raise ConnectionError(f"the checking process of the worker ended with exit code {self.process.wait()}")

    def end(self) -> None:
        """End the process; its cases end with it."""
        with contextlib.suppress(OSError):
            self.process.kill()
        self.process.wait()


_idle: list[_Server] = []


def _take(folder: Path | None) -> _Server:
    """Return a free server; modules named by dotted name are imported from its folder."""
    for server in list(_idle):
        if server.folder == folder and server.process.poll() is None:
            with contextlib.suppress(ValueError):
                _idle.remove(server)
                return server
    return _Server(folder)


@atexit.register
def _end_all() -> None:
    for server in _idle:
        server.end()


def _back(result: CaseResult, folder: str, root: str) -> CaseResult:
    """Return the result with the paths of the machine that asked."""

    def here(text: str | None) -> Any:
        return text if text is None else text.replace(folder, root)

    findings = tuple(
        replace(
            f,
            message=here(f.message),
            hint=here(f.hint),
            traceback=here(f.traceback),
            file=here(f.file),
            source=f.source and replace(f.source, file=here(f.source.file)),
        )
        for f in result.findings
    )
    return replace(result, findings=findings, output=here(result.output))


def _write(pipe: IO[bytes], value: Any) -> None:
    data = pickle.dumps(value)
    pipe.write(struct.pack("<Q", len(data)) + data)
    pipe.flush()


def _read(pipe: IO[bytes]) -> Any:
    """Return the next value of a pipe, None at its end."""
    head = pipe.read(8)
    if len(head) < 8:
        return None
    (size,) = struct.unpack("<Q", head)
    data = pipe.read(size)
    return pickle.loads(data) if len(data) == size else None


def serve(source: IO[bytes], sink: IO[bytes]) -> None:
    """Answer requests until the pipe closes."""
    from gradcheck.events import CaseFinished
    from gradcheck.executors.processes import Processes

    while True:
        request = _read(source)
        if request is None:
            return
        pool = Processes(1, request.limits, request.timeout, request.memory)
        try:
            results = [event.result for event in pool.run([request.case]) if isinstance(event, CaseFinished)]
        finally:
            pool.close()
        _write(sink, (results[0], dict(pool.environment)))


def main() -> None:
    """Serve on standard input and output; what else prints goes to standard error."""
    from gradcheck.executors.processes import start_server

    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    start_server()
    serve(sys.stdin.buffer, sink)


if __name__ == "__main__":
    main()
