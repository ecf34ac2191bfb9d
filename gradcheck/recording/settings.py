# SPDX-License-Identifier: Apache-2.0
"""What `gradcheck record` asks of the programs that it starts, handed on in the environment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass

VARIABLE = "GRADCHECK_RECORD"
# Files in the folder of a recorded process: its sites, the check that runs, and that the program has ended.
SITES, CURRENT, ENDED = "sites.json", "current", "ended"


@dataclass(frozen=True, slots=True)
class Settings:
    """Say where recordings go and how much of them: `folder` is private to one `gradcheck record`.

    `samples` calls are kept per signature, together at most `max_bytes`; `timeout` is in seconds per check;
    after `budget` seconds only the first call of each site is still checked.
    """

    folder: str
    samples: int = 2
    max_bytes: int = 256 * 2**20
    timeout: float = 120.0
    budget: float = 120.0
    show: int = 10

    def variables(self) -> dict[str, str]:
        """Return the environment variables that hand the settings on."""
        return {VARIABLE: json.dumps(asdict(self))}


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings | None:
    """Return the settings that the environment holds, None where nothing is to be recorded."""
    text = environment.get(VARIABLE)
    if not text:
        return None
    try:
        return Settings(**json.loads(text))
    except (ValueError, TypeError):
        return None
