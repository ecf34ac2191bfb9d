# SPDX-License-Identifier: Apache-2.0
"""The files that AutoGraph writes its conversions to."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys

# How AutoGraph names the modules it makes.
_GENERATED = "__autograph_generated_file"


def remove_conversions(since: str) -> None:
    """Remove the files of conversions made since a module was imported.

    AutoGraph leaves that to an exit that killed processes miss.  To look at older modules too would
    copy the pages that hold them, which forked processes share.
    """
    for name in itertools.takewhile(lambda name: name != since, reversed(sys.modules)):
        if name.startswith(_GENERATED):
            module = sys.modules[name]
            for file in (module.__file__, module.__cached__):
                with contextlib.suppress(OSError, TypeError):
                    os.remove(file)  # type: ignore[arg-type]
