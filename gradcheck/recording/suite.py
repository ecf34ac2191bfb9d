# SPDX-License-Identifier: Apache-2.0
"""Record a suite of pytest: in its own process, and in the workers of pytest-xdist."""

from __future__ import annotations

import os
import tempfile

from gradcheck.recording.session import begin, current
from gradcheck.recording.settings import VARIABLE, Settings, from_environment


def start() -> None:
    """Start the recorder in this process; workers that are started from here find its folder in the environment."""
    settings = from_environment()
    if settings is None:
        settings = Settings(tempfile.mkdtemp(prefix="gradcheck-record-"))
        os.environ.update(settings.variables())
    begin(settings)


def finish() -> None:
    """Check what this process has recorded, if it records."""
    session = current()
    if session is not None:
        session.finish()


def settings() -> Settings | None:
    """Return the settings under which this suite records, and take them out of the environment."""
    found = from_environment()
    os.environ.pop(VARIABLE, None)
    return found
