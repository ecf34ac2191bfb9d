# SPDX-License-Identifier: Apache-2.0
"""Where cases run: in processes of this machine, or on the workers of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from gradcheck.events import Event
from gradcheck.spec.model import Case


class Executor(Protocol):
    """Run cases and yield what happens; `environment` describes the machines that run them."""

    environment: dict[str, Any]

    def run(self, cases: list[Case]) -> Iterator[Event]:
        """Yield what happens, as it happens."""

    def close(self) -> None:
        """End everything that still runs."""
