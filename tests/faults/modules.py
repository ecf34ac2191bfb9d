"""Modules of users that do what modules should not; each fault costs its own case only."""

from __future__ import annotations

from dataclasses import dataclass

HEAD = "import tensorflow as tf\n"
SQUARE = "@tf.custom_gradient\ndef op(x):\n    return x * x, lambda u: tf.convert_to_tensor(u) * 2.0 * x\n"


@dataclass(frozen=True)
class Fault:
    """Give a module's source and what must be said of its op: a finding code (None: it passes) and a word."""

    source: str
    code: str | None = None
    word: str = ""
    case: str = ""


def forward(body: str, before: str = "") -> str:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return f"{HEAD}{before}\ndef op(x):\n{lines}\n    return x * 2.0\n"


def in_gradient(body: str, before: str = "") -> str:
    lines = "\n".join(f"        {line}" for line in body.splitlines())
    return f"{HEAD}{before}\n@tf.custom_gradient\ndef op(x):\n    def grad(u):\n{lines}\n        return u\n    return x * 1.0, grad\n"


def at_import(body: str) -> str:
    return f"{HEAD}{body}\n{SQUARE}"


FAULTS: dict[str, Fault] = {
    # Exceptions.
    "exception on import": Fault(at_import("1 / 0"), "import-error", "ZeroDivisionError"),
    "exception in forward": Fault(forward("raise ValueError('no')"), "op-error", "ops.py:4"),
    "exception in grad_fn": Fault(in_gradient("raise ValueError('no')"), "gradient-error", "ops.py:6"),
    "exception while building a layer": Fault(
        f"{HEAD}class op(tf.keras.layers.Layer):\n    def build(self, shape):\n        raise ValueError('unbuilt')\n"
        "    def call(self, x):\n        return x\n",
        "op-error", "unbuilt"),
    "KeyboardInterrupt from the op": Fault(forward("raise KeyboardInterrupt"), "op-error", "KeyboardInterrupt"),
    "an exception class of its own": Fault(
        in_gradient("raise Mine('x')", "class Mine(BaseException): pass"), "gradient-error", "Mine"),
    "an exception that cannot be printed": Fault(
        forward("raise Odd()", "class Odd(Exception):\n    def __str__(self): raise RuntimeError"), "op-error", "Odd"),
    "an exception of ten megabytes": Fault(forward("raise ValueError('y' * 10_000_000)"), "op-error", "left out"),
    "endless recursion": Fault(forward("return op(x)"), "op-error", "RecursionError"),
    # Processes that end.
    "sys.exit on import": Fault(at_import("import sys; sys.exit(3)"), "import-error", "SystemExit"),
    "sys.exit in forward": Fault(forward("import sys; sys.exit(0)"), "op-error", "SystemExit"),
    "os._exit(0)": Fault(forward("import os; os._exit(0)"), "crashed", "exit code 0"),
    "os._exit(3) in grad_fn": Fault(in_gradient("import os; os._exit(3)"), "crashed", "exit code 3"),
    "os._exit on import": Fault(at_import("import os; os._exit(1)"), "crashed", "phase import"),
    "SIGSEGV": Fault(forward("import ctypes; ctypes.string_at(0)"), "crashed", "SIGSEGV (ops.py:4)"),
    "SIGABRT": Fault(forward("import os; os.abort()"), "crashed", "SIGABRT (ops.py:4)"),
    "a failed CHECK in TensorFlow": Fault(
        forward("import ctypes, glob, os\n"
                "found = glob.glob(os.path.join(os.path.dirname(tf.__file__), 'libtensorflow_framework.*'))\n"
                "lib = ctypes.CDLL(found[0])\n"
                "lib.TF_AllocateTensor(1, (ctypes.c_int64 * 1)(-5), 1, ctypes.c_size_t(4))"),
        "crashed", "SIGABRT"),
    "SIGKILL from outside": Fault(forward("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"), "crashed", "SIGKILL"),
    # Processes that do not end.
    "endless loop in Python": Fault(forward("while True: pass"), "timeout", "ops.py:4"),
    "endless tf.while_loop": Fault(forward("tf.while_loop(lambda i: True, lambda i: (i + 1,), [0])"), "timeout", "ops.py:4"),
    "endless loop in compiled code": Fault(
        forward("spin(x)", "@tf.function(jit_compile=True)\ndef spin(x):\n"
                "    return tf.while_loop(lambda i: tf.reduce_all(x < 1e30), lambda i: i + 1, [0])[0]"), "timeout", "ops.py"),
    "deadlock": Fault(forward("import threading; a = threading.Lock(); a.acquire(); a.acquire()"), "timeout", "ops.py:4"),
    "endless printing": Fault(forward("while True: print('x' * 200)"), "timeout", "phase trace"),
    "ignores every signal and loops": Fault(
        forward("import signal\nfor s in (1, 2, 3, 10, 15): signal.signal(s, signal.SIG_IGN)\nwhile True: pass"), "timeout"),
    "memory hog": Fault(
        forward("import numpy as np\nkeep = []\nwhile True: keep.append(np.ones(10_000_000))"), "out-of-memory", "GiB"),
    # What they leave behind.
    "closes standard output": Fault(forward("import contextlib, os\nwith contextlib.suppress(OSError): os.close(1); os.close(2)")),
    "changes folder and environment": Fault(forward("import os; os.chdir('/'); os.environ.clear()")),
    "changes the global seeds": Fault(forward("import random, numpy as np\nrandom.seed(1); np.random.seed(1)")),
    "runs functions eagerly": Fault(at_import("tf.config.run_functions_eagerly(True)")),
    "turns soft placement off": Fault(at_import("tf.config.set_soft_device_placement(False)")),
    "sets floatx": Fault(at_import("tf.keras.backend.set_floatx('float64')")),
    "sets a mixed precision policy": Fault(at_import("tf.keras.mixed_precision.set_global_policy('mixed_bfloat16')")),
    "turns eager execution off": Fault(
        at_import("tf.compat.v1.disable_eager_execution()"), "import-error", "eager execution"),
    "replaces tf.GradientTape": Fault(at_import("tf.GradientTape = None")),
    "starts threads": Fault(forward("import threading, time\nthreading.Thread(target=time.sleep, args=(999,)).start()")),
    "starts processes": Fault(
        forward("import subprocess\nsubprocess.Popen(['sleep', '98765'])\nsubprocess.Popen(['setsid', 'sleep', '98765'])\n"
                "subprocess.Popen('setsid sh -c \"sleep 98765 &\"', shell=True)")),
    "starts processes and dies": Fault(
        forward("import os, subprocess\nsubprocess.Popen('setsid sh -c \"sleep 98765 &\"', shell=True).wait()\nos.abort()"),
        "crashed", "SIGABRT"),
    "forks": Fault(forward("import os\nif os.fork() == 0: os._exit(0)")),
    "registers an exit handler that hangs": Fault(
        at_import("import atexit, time\natexit.register(time.sleep, 999)")),
    "prints on import": Fault(at_import("print('hello \\x1b[31m')")),
    # Names and places.
    "a module named random.py": Fault(at_import("import random as r; r.shuffle([1])"), case="random.py"),
    "a module named tensorflow.py": Fault("import tensorflow as tf\n" + SQUARE, case="tensorflow.py"),
    "a relative import without a package": Fault(at_import("from . import other"), "import-error", "relative import"),
    "a name that is not ASCII": Fault(at_import("größe = 1"), case="größe.py"),
}  # fmt: skip
