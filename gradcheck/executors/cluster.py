"""Run cases on the workers of an existing Dask cluster, with the same verdicts and report."""

from __future__ import annotations

import contextlib
import queue
import time
import uuid
from collections.abc import Iterator
from typing import Any

from gradcheck.engine.limits import Limits
from gradcheck.engine.status import unfinished
from gradcheck.errors import UsageError
from gradcheck.events import CaseFinished, CaseStarted, Event
from gradcheck.executors.parcel import Parcel, pack
from gradcheck.results import CaseResult, Finding
from gradcheck.spec.model import Case

CONNECT_S = 10
# A case whose worker is lost runs once more, on another one.
STARTS = 2
# Workers may be replaced, by a nanny or a batch system; without any for so long, nobody will come.
DESERTED_S = 20


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
        self._client = _connect(address)

    def run(self, cases: list[Case]) -> Iterator[Event]:
        """Yield what happens, as it happens."""
        self._client.subscribe_topic(self._topic, lambda event: self._happened.put(("started", event[1]["id"])))
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
            kind, value = self._next()
            if kind == "deserted":
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

    def _submit(self, case: Case, parcel: Parcel) -> None:
        from gradcheck.executors.remote import check

        future = self._client.submit(
            check, case, parcel, self.limits, self.timeout, self.memory, self._topic, pure=False, retries=0
        )
        self._futures[case.id] = future
        future.add_done_callback(lambda _: self._happened.put(("done", case.id)))

    def _next(self) -> tuple[str, Any]:
        alone_since: float | None = None
        while True:
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


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise UsageError("--executor needs Dask: pip install 'gradcheck[dask]'") from None
    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise UsageError(f"--executor: no Dask scheduler answers at {address}: {error}") from None
    if not client.scheduler_info().get("workers"):
        client.close()
        raise UsageError(f"--executor: the scheduler at {address} has no workers")
    lacking = {where for where, version in client.run(_version, on_error="return").items() if version is None}
    if lacking:
        client.close()
        raise UsageError(f"--executor: gradcheck is not installed on {', '.join(sorted(lacking))}")
    return client


def _version() -> str | None:
    try:
        from gradcheck.version import VERSION
    except ImportError:
        return None
    return VERSION
