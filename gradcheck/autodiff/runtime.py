"""Set TensorFlow up for one case: threads, logical devices, quiet logs."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

import numpy as np
import tensorflow as tf


class DeviceMissing(Exception):
    """Report that a case asks for a device which this machine does not have."""


def configure(devices: tuple[str, ...] | None, threads: int, seed: int) -> tuple[str, ...]:
    """Set thread pools, logical CPUs and seeds; return the devices to check on as `cpu:0`.

    Layers draw their first weights when they are built; seeded, a rerun draws the same.

    Raises DeviceMissing if a named accelerator is absent.  Must run before TensorFlow does.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(max(2, threads))
    tf.get_logger().setLevel("ERROR")
    present = {kind: len(tf.config.list_physical_devices(kind.upper())) for kind in ("cpu", "gpu", "tpu")}
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    wanted = _wanted(devices, present)
    cpus = 1 + max((int(name.split(":")[1]) for name in wanted if name.startswith("cpu:")), default=0)
    if cpus > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * cpus)
    for name in wanted:
        kind, index = name.split(":")
        if kind != "cpu" and int(index) >= present[kind]:
            have = ", ".join(f"{n} {k}" for k, n in present.items() if n) or "none"
            raise DeviceMissing(f"device {name} was asked for and is not here (present: {have})")
    tf.keras.utils.set_random_seed(seed % 2**32)
    return wanted


def _wanted(devices: tuple[str, ...] | None, present: dict[str, int]) -> tuple[str, ...]:
    if devices is None:
        return ("cpu:0", "gpu:0") if present["gpu"] else ("cpu:0",)
    names: list[str] = []
    for device in devices:
        if device == "all":
            names += [f"{kind}:0" for kind, count in present.items() if count]
        else:
            names.append(device if ":" in device else f"{device}:0")
    return tuple(dict.fromkeys(names))


def environment() -> dict[str, Any]:
    """Return versions and devices of this machine."""
    devices = [
        f"{kind.lower()}:{i}"
        for kind in ("CPU", "GPU", "TPU")
        for i in range(len(tf.config.list_physical_devices(kind)))
    ]
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "platform": f"{sys.platform}-{platform.machine()}",
        "devices": devices,
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
    }


def xla_works() -> str:
    """Return "yes", or why a small function cannot be compiled."""
    try:
        value = tf.function(lambda x: tf.sin(x) * x, jit_compile=True, autograph=False)(tf.constant([1.0]))
        return "yes" if np.isfinite(value.numpy()).all() else "no: wrong value"
    except Exception as error:
        return f"no: {str(error).splitlines()[0]}"
