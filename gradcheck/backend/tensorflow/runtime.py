# SPDX-License-Identifier: Apache-2.0
"""Set TensorFlow up for one case: threads, logical devices, quiet logs."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import random
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context as eager_context
from tensorflow.python.framework import op_callbacks

from gradcheck.backend.tensorflow.keras_types import set_random_seed

# The number of glibc's option, and the bytes from which on a block is given back as soon as it is free.
_MMAP_THRESHOLD, _LARGE_BLOCK = -3, 2**20


class DeviceMissing(Exception):
    """Report that a case asks for a device which this machine does not have."""


def configure(devices: tuple[str, ...] | None, threads: int, seed: int, replicas: int = 1) -> tuple[str, ...]:
    """Set thread pools, logical CPUs and seeds; return the devices to check on as `cpu:0`.

    There are at least as many CPUs as `replicas`.  Layers draw their first weights when they are built;
    seeded, a rerun draws the same.

    Raises DeviceMissing if a named accelerator is absent.  Must run before TensorFlow does.
    """
    _give_back_at_once()
    # Without TensorFlow's own frames its errors look like gradcheck's.
    tf.debugging.disable_traceback_filtering()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(max(2, threads))
    tf.get_logger().setLevel("ERROR")
    present = _present()
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    wanted = _wanted(devices, present)
    cpus = max(replicas, *(1 + int(name.split(":")[1]) for name in wanted if name.startswith("cpu:")), 1)
    if cpus > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * cpus)
    _require(wanted, present, but="cpu")
    set_random_seed(seed % 2**32)
    return wanted


@contextlib.contextmanager
def whole_tracebacks() -> Iterator[None]:
    """Keep TensorFlow's own frames in tracebacks inside the block: without them its errors look like gradcheck's."""
    filtered = tf.debugging.is_traceback_filtering_enabled()
    tf.debugging.disable_traceback_filtering()
    try:
        yield
    finally:
        if filtered:
            tf.debugging.enable_traceback_filtering()


@contextlib.contextmanager
def without_debuggers() -> Iterator[None]:
    """Let ops run inside the block without tf.debugging.enable_check_numerics and dumps, which add ops to graphs."""
    callbacks = list(eager_context.context().op_callbacks)
    end_debuggers()
    try:
        yield
    finally:
        for callback in callbacks:
            op_callbacks.add_op_callback(callback)


def end_debuggers() -> None:
    """Take back what a module has asked of tf.debugging."""
    for callback in list(eager_context.context().op_callbacks):
        op_callbacks.remove_op_callback(callback)


def logical_devices(devices: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the devices to check on in a process whose TensorFlow has already started.

    Raises DeviceMissing.
    """
    present = {kind: len(tf.config.list_logical_devices(kind.upper())) for kind in ("cpu", "gpu", "tpu")}
    wanted = _wanted(devices, present)
    _require(wanted, present)
    return wanted


def _present() -> dict[str, int]:
    return {kind: len(tf.config.list_physical_devices(kind.upper())) for kind in ("cpu", "gpu", "tpu")}


def _require(wanted: tuple[str, ...], present: dict[str, int], but: str = "") -> None:
    for name in wanted:
        kind, index = name.split(":")
        if kind != but and int(index) >= present[kind]:
            have = ", ".join(f"{n} {k}" for k, n in present.items() if n) or "none"
            raise DeviceMissing(f"device {name} was asked for and is not here (present: {have})")


def give_back() -> None:
    """Return memory that is free to the system, where the C library can; else it is kept for a next time."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _give_back_at_once() -> None:
    """Have the C library return large blocks when they are freed; by default it learns to keep them."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE_BLOCK)


@contextlib.contextmanager
def random_state_kept() -> Iterator[None]:
    """Leave the random state of Python, NumPy and TensorFlow as it was found."""
    plain, array = random.getstate(), np.random.get_state()
    context = _context()
    seed, generator = getattr(context, "_seed", None), getattr(context, "_rng", None)
    drawn = generator.getstate() if generator is not None else None
    try:
        yield
    finally:
        random.setstate(plain)
        np.random.set_state(array)
        if context is not None:
            context._seed, context._rng = seed, generator
            if generator is not None:
                generator.setstate(drawn)
            with contextlib.suppress(Exception):
                context._clear_caches()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep TensorFlow's warnings (of retracing, say) out of the user's log inside the block."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)


def in_graph() -> bool:
    """Return whether a graph is being built, in which nothing can be checked."""
    return not tf.executing_eagerly()


def _context() -> Any:
    """Return TensorFlow's eager context, which holds its seed and offers no public way to read it."""
    try:
        from tensorflow.python.eager import context
    except ImportError:
        return None
    return context.context()


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
