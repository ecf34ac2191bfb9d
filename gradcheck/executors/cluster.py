# SPDX-License-Identifier: Apache-2.0
"""Run cases on the workers of an existing Dask cluster, with the same verdicts and report."""

from __future__ import annotations

import contextlib
import queue
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from gradcheck.engine.limits import Limits
from gradcheck.engine.status import unfinished
from gradcheck.errors import UsageError
from gradcheck.events import CaseFinished, CaseStarted, Event
from gradcheck.executors.parcel import Parcel, pack
from gradcheck.results import CaseResult, Finding
from gradcheck.spec.model import Case
from gradcheck.version import VERSION

CONNECT_S = 10
# A case whose worker is lost runs once more, on another one.
STARTS = 2
# Workers may be replaced, by a nanny or a batch system; without any for so long, nobody will come.
DESERTED_S = 20
# A worker keeps the time of its cases itself; one that has not answered so long after it is frozen.
GRACE_S = 45


class Cluster:
    """Submit cases to a Dask scheduler; its workers need gradcheck installed, but not the specs."""

    def __init__(self, address: str, limits: Limits, timeout: float | None, memory: int | None) -> None:
        if limits.save is not None:
            raise UsageError("--save-failures writes on the machine that runs a case; leave out --executor")
        self.limits, self.timeout, self.memory = limits, timeout, memory
        self.environment: dict[str, Any] = {}
        self._topic = f"gradcheck-{uuid.uuid4().hex}"
        self._happened: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._futures: dict[str, Any] = {}
        self._workers: dict[str, str] = {}
        self._client = _connect(address)

    def run(self, cases: list[Case]) -> Iterator[Event]:
        """Yield what happens, as it happens."""
        self._client.subscribe_topic(self._topic, self._begun)
        parcels: dict[str, Any] = {}
        for case in cases:
            parcel = pack(case)
            if parcel.digest not in parcels:
                parcels[parcel.digest] = self._client.scatter(parcel, broadcast=True)
            self._submit(case, parcels[parcel.digest])
        waiting = {case.id: case for case in cases}
        begun: dict[str, float] = {}
        starts = dict.fromkeys(waiting, 0)
        again: set[str] = set()
        while waiting:
            kind, value = self._next(self._deadlines(waiting, begun))
            if kind == "late":
                case = waiting.pop(value)
                self._client.cancel([self._futures[value]])
                yield CaseFinished(_frozen(case, time.monotonic() - begun.get(value, time.monotonic())))
                self._leave(self._workers.get(value), [other for id, other in waiting.items() if id not in begun])
            elif kind == "deserted":
                for case in waiting.values():
                    spent = time.monotonic() - begun.get(case.id, time.monotonic())
                    yield CaseFinished(_lost(case, spent, "no worker is left"))
                return
            if kind == "started" and value in waiting:
                starts[value] += 1
                begun.setdefault(value, time.monotonic())
                if starts[value] == 1:
                    yield CaseStarted(value)
                elif starts[value] > STARTS:
                    case = waiting.pop(value)
                    self._client.cancel([self._futures[value]])
                    yield CaseFinished(_lost(case, time.monotonic() - begun[value]))
            elif kind == "done" and value in waiting:
                case = waiting[value]
                if not self._futures[value].done():
                    # It was submitted anew, away from a frozen worker.
                    continue
                if self._futures[value].cancelled() and value not in again:
                    # The worker took the files along that the case needs: send them with the case itself.
                    again.add(value)
                    self._submit(case, pack(case))
                    continue
                del waiting[value]
                yield CaseFinished(self._result(case, time.monotonic() - begun.get(value, time.monotonic())))

    def close(self) -> None:
        """Cancel what still runs and leave the cluster as it was."""
        unfinished_ones = [future for future in self._futures.values() if not future.done()]
        with contextlib.suppress(Exception):
            self._client.cancel(unfinished_ones)
        with contextlib.suppress(Exception):
            self._client.close(timeout=2)

    def _begun(self, event: Any) -> None:
        """Take in that a worker has begun a case."""
        self._workers[event[1]["id"]] = event[1]["worker"]
        self._happened.put(("started", event[1]["id"]))

    def _leave(self, frozen: str | None, cases: list[Case]) -> None:
        """Submit cases that wait behind a frozen worker to the others."""
        alive = [address for address in self._client.scheduler_info().get("workers", {}) if address != frozen]
        if frozen is None or not alive:
            return
        for case in cases:
            before = self._futures[case.id]
            self._submit(case, pack(case), alive)
            self._client.cancel([before])

    def _submit(self, case: Case, parcel: Parcel, workers: list[str] | None = None) -> None:
        from gradcheck.executors.remote import check

        future = self._client.submit(
            check,
            *(case, parcel, self.limits, self.timeout, self.memory, self._topic),
            pure=False,
            retries=0,
            workers=workers,
        )
        self._futures[case.id] = future
        future.add_done_callback(lambda _: self._happened.put(("done", case.id)))

    def _deadlines(self, waiting: Mapping[str, Case], begun: Mapping[str, float]) -> dict[str, float]:
        """Return when each case that has begun should have ended by its own limit; where none has, when all should."""
        limits = {id: min(case.timeout, self.timeout or case.timeout) + GRACE_S for id, case in waiting.items()}
        known = {id: begun[id] + limit for id, limit in limits.items() if id in begun}
        # Cases that wait behind a worker that is frozen never begin.
        return known or {id: time.monotonic() + limit for id, limit in limits.items()}

    def _next(self, deadlines: Mapping[str, float]) -> tuple[str, Any]:
        alone_since: float | None = None
        while True:
            late = next((id for id, deadline in deadlines.items() if time.monotonic() > deadline), None)
            if late is not None:
                return "late", late
            # Short waits let Ctrl-C through.
            with contextlib.suppress(queue.Empty):
                return self._happened.get(timeout=0.5)
            if self._client.scheduler_info().get("workers"):
                alone_since = None
            elif alone_since is None:
                alone_since = time.monotonic()
            elif time.monotonic() - alone_since > DESERTED_S:
                return "deserted", None

    def _result(self, case: Case, spent: float) -> CaseResult:
        future = self._futures[case.id]
        try:
            result, self.environment = future.result()
        except Exception as error:
            return _lost(case, spent, f"{type(error).__name__}: {error}")
        return result  # type: ignore[no-any-return]


def _lost(case: Case, spent: float, why: str = "its worker was lost twice") -> CaseResult:
    finding = Finding("crashed", f"the cluster could not finish the case: {why}", hint="look at the worker's log")
    return unfinished(case, finding, spent)


def _frozen(case: Case, spent: float) -> CaseResult:
    message = "its worker on the cluster does not answer, also after the case's time is over"
    return unfinished(case, Finding("timeout", message, hint="look at the worker's log; restart it"), spent)


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise UsageError("--executor needs Dask: pip install distributed") from None
    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise UsageError(f"--executor: no Dask scheduler answers at {address}: {error}") from None
    if not client.scheduler_info().get("workers"):
        client.close()
        raise UsageError(f"--executor: the scheduler at {address} has no workers")
    versions = client.run(_version, on_error="return")
    lacking = sorted(where for where, version in versions.items() if version is None)
    other = sorted(f"{where} ({version})" for where, version in versions.items() if version not in (None, VERSION))
    if lacking or other:
        client.close()
    if lacking:
        raise UsageError(f"--executor: gradcheck is not installed on {', '.join(lacking)}")
    if other:
        raise UsageError(f"--executor: this is gradcheck {VERSION}; install the same on {', '.join(other)}")
    return client


def _version() -> str | None:
    try:
        from gradcheck.version import VERSION
    except ImportError:
        return None
    return VERSION
