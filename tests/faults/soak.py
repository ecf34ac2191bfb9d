"""Run five hundred cases at once and watch the parent: memory, open files, zombies.

python -m tests.faults.soak [COUNT]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil

OP = "import tensorflow as tf\n\n\ndef op(x):\n    return tf.sin(x) * x\n"
# How much more the parent may hold at the end than after a tenth of the run.
GROWTH = 1.1


def main(count: int) -> int:
    """Print what was seen, return 1 if something grew."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        cases = "".join(f"  c{i}: {{op: op, inputs: {{x: {{shape: [3]}}}}}}\n" for i in range(count))
        (Path(folder) / "ops.py").write_text(OP)
        (Path(folder) / "soak.yaml").write_text(f"module: ops.py\ncases:\n{cases}")
        started = time.monotonic()
        command = [sys.executable, "-m", "gradcheck", "run", "soak.yaml", "-q", "-j", "2"]
        with subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL) as run:
            seen = list(_watched(psutil.Process(run.pid), run))
    tenth = max(1, len(seen) // 10)
    early, late = seen[tenth : 2 * tenth], seen[-tenth:]
    memory, files = ([median(s[k] for s in part) for part in (early, late)] for k in (0, 1))
    zombies = max(s[2] for s in seen)
    print(f"{count} cases in {time.monotonic() - started:.0f} s, exit {run.returncode}")
    print(f"memory of the parent {memory[0] / 1e6:.1f} MB early, {memory[1] / 1e6:.1f} MB late")
    print(f"open files {files[0]:.0f} early, {files[1]:.0f} late; zombies at most {zombies}")
    flat = memory[1] <= GROWTH * memory[0] and files[1] <= files[0] + 2 and zombies <= 2
    return 0 if flat and run.returncode == 0 else 1


def _watched(parent: psutil.Process, run: subprocess.Popen):
    """Yield (memory in bytes, open files, zombies) of the parent until it ends."""
    while run.poll() is None:
        try:
            family = parent.children(recursive=True)
            zombies = sum(_is_zombie(child) for child in family)
            yield parent.memory_info().rss, parent.num_fds(), zombies
        except psutil.Error:
            return
        time.sleep(0.5)


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 500))
