# SPDX-License-Identifier: Apache-2.0
"""`gradcheck doctor`: versions, devices, and whether XLA works."""

from __future__ import annotations

import os
import subprocess
import sys

import click

_PROBE = """
import gradcheck.executors.warm
from gradcheck.backend.tensorflow.runtime import environment, xla_works
for key, value in environment().items():
    print(f"{key:<12} {', '.join(value) if isinstance(value, list) else value}")
import tensorflow as tf
print(f"{'xla':<12} {xla_works()}")
print(f"{'tf32':<12} {'on' if tf.config.experimental.tensor_float_32_execution_enabled() else 'off'} (GPUs only)")
"""


@click.command(epilog="Example: gradcheck doctor")
def doctor() -> int:
    """Print versions, devices, and whether XLA compiles here."""
    from gradcheck.version import VERSION

    click.echo(f"{'gradcheck':<12} {VERSION}")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    # In a process of its own: a TensorFlow that does not start must not take the answer along.
    done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, env=environment, check=False)
    click.echo(done.stdout.rstrip())
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        click.echo(f"{'tensorflow':<12} does not start: {last[0]}")
        return 1
    return 0
