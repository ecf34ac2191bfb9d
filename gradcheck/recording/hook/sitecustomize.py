# SPDX-License-Identifier: Apache-2.0
"""Start the recorder in a Python program, then run the `sitecustomize` that the program would have had."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys


def _start() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [place for place in sys.path if os.path.abspath(place) != here]
    # Where gradcheck is not installed the program runs as it is; `gradcheck record` says so.
    with contextlib.suppress(ImportError):
        from gradcheck.recording.session import begin

        begin()
    ours = sys.modules.pop("sitecustomize", None)
    try:
        importlib.import_module("sitecustomize")
    except ImportError:
        if ours is not None:
            sys.modules["sitecustomize"] = ours


_start()
