import os
import signal

import tensorflow as tf


def harmless(x):
    return x * x


def exits(x):
    os._exit(7)


def killed(x):
    os.kill(os.getpid(), signal.SIGSEGV)
