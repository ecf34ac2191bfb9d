# SPDX-License-Identifier: Apache-2.0
"""What the fork server imports before it forks; it must run no TensorFlow op."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import sys

from gradcheck.executors.conversions import remove_conversions
from gradcheck.executors.lifeline import OURS, PARENT, SAFE_PATH, die_with_parent

# What every case would load otherwise.
NEEDED = ("numpy.ma", "numpy.random", "gradcheck.backend.tensorflow.runtime", "gradcheck.checks")

# A fifth of TensorFlow's import would be the collector's, which finds next to nothing.
gc.disable()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Ctrl-C goes to every process of the terminal; the parent decides what it means.
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
die_with_parent()
if os.environ.get(SAFE_PATH) == OURS:
    # What users' code starts has its own paths.
    del os.environ[SAFE_PATH]
if os.environ.pop(PARENT, str(os.getppid())) != str(os.getppid()):
    # The parent was gone before it could be watched.
    os._exit(0)


def _quietly() -> None:
    """Import TensorFlow with its start-up lines kept off the user's terminal."""
    sys.stderr.flush()
    kept = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        with contextlib.suppress(Exception):
            import tensorflow as tf

            for module in NEEDED:
                importlib.import_module(module)
            # Keras is loaded when it is first used.
            assert tf.keras.layers.Layer
            from gradcheck.backend.tensorflow.tracing import convert_ahead

            convert_ahead()
            remove_conversions(since="tensorflow")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


_quietly()
# What is imported stays: a collection in a case need not walk it, nor copy the pages that all share.
gc.freeze()
gc.enable()
