"""Time gradcheck against its peers, each figure a ratio within one run (`make bench`).

python -m tests.benchmarks.bench [--json FILE] [-k WORD] [--peers PYTHON]

PyTorch and JAX may be installed beside gradcheck or for another interpreter, which `--peers` names.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.figure import HERE, Figure, checked, seconds, tool, write
from tests.benchmarks.limit import near_the_limit

SMALL = "{module: ops.py, cases: {c: {op: elementwise, inputs: {x: {shape: [4, 3]}}}}}"


def import_seconds(repeats: int = 3) -> float:
    return seconds([sys.executable, "-c", "import tensorflow"], repeats)


def start_up(folder: Path) -> Iterator[Figure]:
    base = import_seconds()
    spec = write(folder, SMALL)
    commands = {
        "--help": ["--help"],
        "list": ["list", str(spec)],
        "validate": ["validate", str(spec)],
        "scaffold": ["scaffold", "gate", "--dir", str(folder / "new"), "--force"],
        "completion": ["completion", "bash"],
    }
    for name, args in commands.items():
        spent = seconds(tool(*args), 5)
        told = f"{spent:.2f} s against {base:.2f} s"
        yield Figure(f"{name} / TensorFlow's import", spent / base, 1 / 15, True, told)


def one_case(folder: Path) -> Iterator[Figure]:
    spec = write(folder, SMALL)
    pairs = [(seconds(tool("run", str(spec))), seconds([sys.executable, "-c", "import tensorflow"])) for _ in range(3)]
    ratio = statistics.median(a / b for a, b in pairs)
    told = f"{statistics.median(a for a, _ in pairs):.2f} s end to end"
    yield Figure("one small case / TensorFlow's import", ratio, 1.35, True, told)


def many_cases(folder: Path) -> Iterator[Figure]:
    """Yield what a further case costs; a machine's speed drifts, so each round holds all that is compared."""
    cases = ", ".join(f"c{i}: {{op: elementwise, inputs: {{x: {{shape: [4, 3]}}}}}}" for i in range(40))
    many = write(folder, f"{{module: ops.py, cases: {{{cases}}}}}", "many.yaml")
    costs, gains = [], []
    for _ in range(3):
        before, one = import_seconds(1), seconds(tool("run", f"{many}::c0"))
        serial, between = seconds(tool("run", str(many))), import_seconds(1)
        costs.append(((serial - one) / 39, (before + between) / 2))
        gains.append((serial, seconds(tool("run", str(many), "-j", "2"))))
    further, base = sorted(costs, key=lambda pair: pair[0] / pair[1])[1]
    told = f"{further:.2f} s a case, {base:.2f} s the import"
    yield Figure("a further small case / TensorFlow's import", further / base, 1 / 6, True, told)
    serial, parallel = sorted(gains, key=lambda pair: pair[0] / pair[1])[1]
    yield Figure("-j 1 / -j 2 over 40 cases", serial / parallel, 1.6, False, f"{serial:.1f} s and {parallel:.1f} s")


def full_coverage(folder: Path) -> Iterator[Figure]:
    """Yield the times of full coverage against the peer's; of a short check the median of three rounds."""
    vector = "{coverage: full, op: elementwise, inputs: {x: {shape: [10000], dtype: float64}}}"
    peer, spent, differences = _full(folder, "elementwise", vector, "10000", 1)
    told = f"{peer:.1f} s and {spent:.2f} s"
    yield Figure("compute_gradient / whole check, 10,000 elements", peer / spent, 20, False, told)
    told = f"{peer:.1f} s and {differences:.2f} s"
    yield Figure("compute_gradient / differences, 10,000 elements", peer / differences, 100, False, told)
    square = "{shape: [64, 64], dtype: float64}"
    matrices = f"{{coverage: full, op: product, inputs: {{a: {square}, b: {square}}}}}"
    rounds = [_full(folder, "product", matrices, "64,64", 2) for _ in range(3)]
    peer, spent, _ = sorted(rounds, key=lambda r: r[0] / r[1])[1]
    told = f"{peer:.1f} s and {spent:.2f} s"
    yield Figure("compute_gradient / whole check, matmul 64x64", peer / spent, 10, False, told)


def _full(folder: Path, op: str, case: str, shape: str, count: int) -> tuple[float, float, float]:
    """Return the seconds of the peer, of the whole check and of its differences."""
    report = checked(folder, f"{{module: ops.py, cases: {{c: {case}}}}}")
    return compute_gradient(op, shape, count), report["duration_s"], report["phases_s"]["finite_difference"]


def compute_gradient(op: str, shape: str, count: int) -> float:
    """Return the seconds that tf.test.compute_gradient takes, the import left out."""
    code = (
        f"import time, numpy as np, tensorflow as tf; from tests.benchmarks.ops import {op} as f\n"
        f"x = [tf.constant(np.random.default_rng(0).normal(size=({shape},))) for _ in range({count})]\n"
        "t = time.perf_counter(); tf.test.compute_gradient(f, x); print(time.perf_counter() - t)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HERE.parents[1])
    return float(done.stdout.split()[-1])


def forward_and_backward(dtype: str) -> float:
    """Return the seconds of one gradient of 10^6 elements in one thread."""
    code = (
        "import time, tensorflow as tf; from tests.benchmarks.ops import elementwise as f\n"
        "tf.config.threading.set_intra_op_parallelism_threads(1)\n"
        f"x = tf.random.normal([1000000], dtype='{dtype}')\n"
        "def once():\n"
        "    with tf.GradientTape() as tape:\n"
        "        tape.watch(x); y = f(x)\n"
        "    return tape.gradient(y, x).numpy()\n"
        "once(); t = time.perf_counter()\n"
        "for _ in range(5): once()\n"
        "print((time.perf_counter() - t) / 5)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HERE.parents[1])
    return float(done.stdout.split()[-1])


def directional_coverage(folder: Path) -> Iterator[Figure]:
    code = (
        "import json, sys, time, resource, psutil\n"
        "import gradcheck.executors.warm\n"
        "import tensorflow as tf\n"
        "from gradcheck.engine.case import check_case\nfrom gradcheck.engine.limits import Limits\n"
        "from gradcheck.spec.discover import load, select\n"
        "case = select(load([sys.argv[1]]))[0]\n"
        "from gradcheck.backend.tensorflow import runs, vector_op\n"
        "from gradcheck.checks import disturbances, linearity, other_sites, unknown_sizes\n"
        "from gradcheck.measure import prepare\n"
        "passes = [0]\n"
        "def counted(owner, name):\n"
        "    plain = getattr(owner, name)\n"
        "    def call(*args, **kwargs):\n"
        "        passes[0] += 1\n"
        "        return plain(*args, **kwargs)\n"
        "    setattr(owner, name, call)\n"
        "for owner, name in ((runs.Gradients, 'run'), (vector_op.VectorOp, '_pull'), (vector_op.VectorOp, '_values'),\n"
        "    (other_sites, 'pull'), (unknown_sizes, 'pull'), (linearity, 'of_rows'),\n"
        "    (prepare, '_first_call'), (disturbances, '_changed_by_second_forward')):\n"
        "    counted(owner, name)\n"
        "before = psutil.Process().memory_info().rss\n"
        "t = time.perf_counter(); r = check_case(case, Limits(), lambda *_: None); spent = time.perf_counter() - t\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "print(json.dumps([r.status, spent, peak - before, passes[0]]))\n"
    )
    for dtype in ("float64", "float32"):
        case = f"{{op: elementwise, inputs: {{x: {{shape: [1000000], dtype: {dtype}}}}}}}"
        spec = write(folder, f"{{module: ops.py, cases: {{c: {case}}}}}")
        command = [sys.executable, "-c", code, str(spec)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE.parents[1])
        status, spent, memory, passes = json.loads(done.stdout.splitlines()[-1])
        name, megabytes = f"10^6 {dtype} inputs", f"{memory / 1e6:.0f} MB"
        yield Figure(f"{name}: forward and backward passes", passes, 100, True, "forwards alone count too")
        # Whatever the inputs are, they are widened to float64, in which most of the passes are.
        for ruler in dict.fromkeys(("float64", dtype)):
            once, bounded = forward_and_backward(ruler), ruler == "float64"
            told = f"{spent:.1f} s and {once * 1e3:.0f} ms, {status}"
            yield Figure(f"{name}: whole check / a {ruler} pass", spent / once, 100 if bounded else None, True, told)
            size = memory / (8e6 if bounded else 4e6)
            yield Figure(
                f"{name}: memory above the import / input as {ruler}", size, 40 if bounded else None, True, megabytes
            )
    report = checked(
        folder, "{module: ops.py, cases: {c: {op: one_wrong, coverage: directional,"
        " inputs: {x: {shape: [10000], dtype: float64}}}}}",
    )  # fmt: skip
    named = [e["index"] for f in report["findings"] for e in f["elements"]] == [[4321]]
    yield Figure("one wrong of 10^4 along directions: named", float(named), 1, False, f"{report['duration_s']:.1f} s")


def watching(folder: Path) -> Iterator[Figure]:
    """Yield the time from an edit to its answer against a run from cold."""
    spec = write(folder, SMALL)
    cold = seconds(tool("run", str(spec)), 5)
    process = subprocess.Popen(tool("watch", str(spec)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        _summary(process)
        time.sleep(1)
        answered = []
        for number in range(7):
            started = time.perf_counter()
            edited = folder / "ops.new"
            edited.write_text((HERE / "ops.py").read_text() + f"# {number}\n")
            edited.replace(folder / "ops.py")
            _summary(process)
            answered.append(time.perf_counter() - started)
            time.sleep(1)
    finally:
        process.terminate()
        process.wait()
    spent = statistics.median(answered)
    yield Figure("watch: an edit / a run from cold", spent / cold, 1 / 5, True, f"{spent:.2f} s and {cold:.2f} s")


def _summary(process: subprocess.Popen) -> None:
    """Read on to the line that ends a round."""
    for line in process.stdout or ():
        if " passed" in line or " failed" in line:
            return


PEERS = {
    "PyTorch gradcheck": "import torch; x = torch.randn({count}, dtype=torch.float64, requires_grad=True)\n"
    "run = lambda: torch.autograd.gradcheck(lambda v: torch.sin(v) * v, (x,))",
    "PyTorch gradcheck, fast mode": "import torch; x = torch.randn({count}, dtype=torch.float64, requires_grad=True)\n"
    "run = lambda: torch.autograd.gradcheck(lambda v: torch.sin(v) * v, (x,), fast_mode=True)",
    "JAX check_grads": "import jax; jax.config.update('jax_enable_x64', True)\nimport jax.numpy as jnp\n"
    "from jax.test_util import check_grads\nx = jax.random.normal(jax.random.PRNGKey(0), ({count},))\n"
    "run = lambda: check_grads(lambda v: jnp.sin(v) * v, (x,), 1, modes=['rev'])",
}


def other_frameworks(folder: Path, python: str = sys.executable) -> Iterator[Figure]:
    """Yield the same op under PyTorch's and JAX's checkers, where `python` has them; there is no bound."""
    for count in (300, 5000):
        case = f"{{op: elementwise, inputs: {{x: {{shape: [{count}], dtype: float64}}}}}}"
        own = checked(folder, f"{{module: ops.py, cases: {{c: {case}}}}}")["duration_s"]
        for name, code in PEERS.items():
            timed = code.format(count=count)
            timed += "\nimport time\nt = time.perf_counter(); run(); print(time.perf_counter() - t)"
            done = subprocess.run([python, "-c", timed], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                peer = float(done.stdout.split()[-1])
                told = f"{own:.2f} s in five ways and {peer:.3f} s in one"
                yield Figure(f"whole check / {name}, {count} elements", own / peer, None, True, told)


CALLS = """
import time
import tensorflow as tf

@tf.custom_gradient
def product(x, y):
    return x * y, lambda u: (u * y, u * x)

x = tf.ones([4, 3])
traced = tf.function(lambda x: product(x, x))

def fastest(call):
    call(x)
    best = float("inf")
    for _ in range(7):
        started = time.perf_counter()
        for _ in range(2000):
            call(x)
        best = min(best, (time.perf_counter() - started) / 2000)
    return best * 1e6

print("us", fastest(lambda x: product(x, x)), fastest(traced))
"""


def recording(folder: Path) -> Iterator[Figure]:
    """Yield what a recorded call takes more than the same call without the recorder, of which nothing new is kept."""
    (folder / "calls.py").write_text(CALLS)
    pairs = [
        (
            _call_times([sys.executable, "calls.py"], folder),
            _call_times(tool("record", "--", "python", "calls.py"), folder),
        )
        for _ in range(3)
    ]
    # The fastest of three processes each: one process is faster than the next by more than a callback takes.
    plain, recorded = ([min(way) for way in zip(*times, strict=True)] for times in zip(*pairs, strict=True))
    for kind, a, b in zip(("eager", "tf.function"), plain, recorded, strict=True):
        told = f"{b - a:.0f} us more than {a:.0f} us"
        yield Figure(f"record: a further call in {kind} / the call", (b - a) / a, 0.5, True, told)


def _call_times(command: list[str], folder: Path) -> list[float]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    line = next(line for line in done.stdout.splitlines() if line.startswith("us "))
    return [float(number) for number in line.split()[1:]]


PARTS: dict[str, Callable[[Path], Iterator[Figure]]] = {
    "start-up": start_up,
    "one": one_case,
    "many": many_cases,
    "full": full_coverage,
    "directional": directional_coverage,
    "watch": watching,
    "record": recording,
}


def main() -> int:
    """Print the table, write JSON, return 1 if a bound is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("-k", default="", help="only parts whose name holds this")
    parser.add_argument("--peers", default=sys.executable, help="the interpreter that has PyTorch and JAX")
    options = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    # As an installer does: TensorFlow, which is the measure, has its bytecode too.
    compileall.compile_dir(HERE.parents[1] / "gradcheck", quiet=1)
    figures: list[Figure] = []
    beside = {
        "limit": partial(near_the_limit, python=options.peers),
        "others": partial(other_frameworks, python=options.peers),
    }
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for name, part in {**PARTS, **beside}.items():
            if options.k in name:
                figures += part(Path(folder))
    table = Table("figure", "measured", "bound", "holds", "")
    for figure in figures:
        bound = "" if figure.bound is None else f"{'<=' if figure.at_most else '>='} {figure.bound:.3g}"
        holds = "" if figure.bound is None else ("yes" if figure.holds else "NO")
        table.add_row(figure.name, f"{figure.value:.3g}", bound, holds, figure.told)
    Console(width=150).print(table)
    if options.json:
        options.json.write_text(json.dumps([{**asdict(f), "holds": f.holds} for f in figures], indent=1))
    return 0 if all(figure.holds for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
