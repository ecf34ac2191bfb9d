"""The files that AutoGraph writes its conversions to."""

from __future__ import annotations

import contextlib
import os
import sys

# How AutoGraph names the modules it makes.
_GENERATED = "__autograph_generated_file"


def remove_conversions() -> None:
    """Remove the files of this process's conversions; AutoGraph leaves that to an exit that killed processes miss."""
    for name, module in list(sys.modules.items()):
        if name.startswith(_GENERATED):
            for file in (module.__file__, module.__cached__):
                with contextlib.suppress(OSError, TypeError):
                    os.remove(file)  # type: ignore[arg-type]
