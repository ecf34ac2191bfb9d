"""Run every fault for real and say what was observed (`make faults`)."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.faults.modules import FAULTS, HEAD, SQUARE, Fault

SPEC = "module: {module}\ncases:\n  op: {{timeout: {timeout}, inputs: {{x: {{shape: [3]}}}}}}\n"
SLOW = f"{HEAD}import time\ndef op(x):\n    time.sleep(60)\n    return x\n"
# Only what hangs has to be waited for; a slow machine needs longer for the rest.
# Two seconds on an idle machine; one that is busy takes longer to end large processes.
ENDED_S = 6.0
HANGS_S, PATIENCE_S, MEMORY = 6, 100, "1G"


@dataclass(frozen=True)
class Observed:
    """Say what was seen of one fault, and whether it is as it should be."""

    name: str
    holds: bool
    what: str


def gradcheck(*args: object, cwd: Path, **more) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "gradcheck", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False, **more)


def observe_all(folder: Path) -> Iterator[Observed]:
    """Yield what is observed of every fault."""
    yield from observe_modules(folder / "modules")
    for name, scenario in SCENARIOS.items():
        place = folder / name.replace(" ", "-")
        place.mkdir()
        try:
            yield Observed(name, True, scenario(place))
        except AssertionError as error:
            yield Observed(name, False, str(error) or "an assertion failed")


def write_case(folder: Path, source: str, module: str = "ops.py", timeout: float = PATIENCE_S) -> Path:
    """Write a module and a spec of one case."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / module).write_text(source, encoding="utf-8")
    (folder / "spec.yaml").write_text(SPEC.format(module=module, timeout=timeout), encoding="utf-8")
    return folder / "spec.yaml"


def observe_modules(folder: Path) -> Iterator[Observed]:
    """Run all hostile modules in one run, a healthy case before and after them."""
    faults = {"0 healthy": Fault(HEAD + SQUARE), **FAULTS, "zz healthy": Fault(HEAD + SQUARE)}
    for number, fault in enumerate(faults.values()):
        timeout = HANGS_S if fault.code == "timeout" else PATIENCE_S
        write_case(folder / f"{number:02}", fault.source, fault.case or "ops.py", timeout)
    done = gradcheck("run", ".", "-j", 2, "--memory-limit", MEMORY, "--json", "r.json", cwd=folder)
    report = json.loads((folder / "r.json").read_text())
    found = {case["spec"].split("/")[0]: case for case in report["cases"]}
    for number, (name, fault) in enumerate(faults.items()):
        yield _judged(name, fault, found.get(f"{number:02}"))
    clean = done.returncode == 1 and "Traceback" not in done.stderr and "\x1b" not in done.stdout
    size = len(done.stdout) + (folder / "r.json").stat().st_size
    yield Observed("the run as a whole", clean and size < 2_000_000, f"exit {done.returncode}, {size} bytes of report")
    left = [p.pid for p in psutil.process_iter(["cmdline"]) if "98765" in (p.info["cmdline"] or [])]
    yield Observed("nothing is left running", not left, f"{len(left)} processes left")


def _judged(name: str, fault: Fault, case: dict | None) -> Observed:
    if case is None:
        return Observed(name, False, "is not in the report")
    errors = [f for f in case["findings"] if f["level"] == "error"]
    told = "; ".join(f"{f['code']}: {f['message'][:90]}" for f in errors) or case["status"]
    if fault.code is None:
        return Observed(name, case["status"] == "passed", told)
    met = len(errors) == 1 and errors[0]["code"] == fault.code and fault.word in errors[0]["message"]
    return Observed(name, met and case["status"] == "errored", told)


def _interrupted(folder: Path, sign: signal.Signals, after: float, code: int, times: int = 1) -> str:
    write_case(folder / "a", HEAD + SQUARE)
    write_case(folder / "b", SLOW)
    command = [sys.executable, "-m", "gradcheck", "run", ".", "-j", "2", "--json", "r.json"]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=interruptible
    )
    if after < 0:
        _wait_for_result(process)
    else:
        time.sleep(after)
    children = psutil.Process(process.pid).children(recursive=True)
    for number in range(times):
        time.sleep(0.03 * (number > 0))
        process.send_signal(sign)
    started = time.monotonic()
    _, err = process.communicate(timeout=20)
    alive = _alive_after(children, ENDED_S)
    spent = time.monotonic() - started
    assert process.returncode == code, f"exit {process.returncode}, {err[-300:]}"
    assert not alive, f"{len(alive)} child processes lived on"
    assert "Traceback" not in err, err[-300:]
    if after < 0:
        report = json.loads((folder / "r.json").read_text())
        assert report["summary"]["passed"] == 1
        assert report["summary"]["stop_reason"] in ("interrupted", "terminated")
    return f"exit {code} after {spent:.2f} s, {len(children)} child processes ended"


def _alive_after(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until all have ended, `seconds` at most; one that nobody has taken leave of yet has ended too."""
    deadline = time.monotonic() + seconds
    while (alive := [p for p in processes if _lives(p)]) and time.monotonic() < deadline:
        time.sleep(0.01)
    return alive


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def interruptible() -> None:
    """Undo what a shell does to what it starts in the background: ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _wait_for_result(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    while "PASS" not in process.stdout.readline():
        assert process.poll() is None, "ended before its first result"


def interrupt_at_once(folder: Path) -> str:
    return _interrupted(folder, signal.SIGINT, 0.7, 130)


def interrupt_while_tensorflow_starts(folder: Path) -> str:
    return _interrupted(folder, signal.SIGINT, 2.0, 130)


def interrupt_after_a_result(folder: Path) -> str:
    return _interrupted(folder, signal.SIGINT, -1, 130)


def interrupt_impatiently(folder: Path) -> str:
    return _interrupted(folder, signal.SIGINT, -1, 130, times=5)


def terminate_after_a_result(folder: Path) -> str:
    return _interrupted(folder, signal.SIGTERM, -1, 143)


def a_killed_parent_leaves_nothing(folder: Path) -> str:
    write_case(folder, SLOW)
    process = subprocess.Popen([sys.executable, "-m", "gradcheck", "run", "."], cwd=folder, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    children = []
    while len(children) < 3 and time.monotonic() < deadline:
        time.sleep(0.5)
        children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    alive = _alive_after(children, ENDED_S)
    assert not alive, f"{len(alive)} of {len(children)} child processes lived on"
    return f"{len(children)} child processes ended with it"


def a_full_disk(folder: Path) -> str:
    write_case(folder, HEAD + SQUARE)
    done = gradcheck("run", ".", "--json", "/dev/full", cwd=folder)
    assert done.returncode == 2, done.returncode
    assert "cannot write /dev/full: No space left" in done.stderr, done.stderr
    assert "1 passed" in done.stdout
    return "result printed, then: " + done.stderr.strip().splitlines()[-1]


def a_path_that_cannot_be_written(folder: Path) -> str:
    write_case(folder, HEAD + SQUARE)
    started = time.monotonic()
    done = gradcheck("run", ".", "--junit", "gone/j.xml", cwd=folder)
    assert done.returncode == 2
    assert done.stdout == ""
    return f"refused after {time.monotonic() - started:.2f} s: {done.stderr.strip()}"


def a_reader_that_goes_away(folder: Path) -> str:
    write_case(folder, HEAD + SQUARE)
    done = subprocess.run(
        f"{sys.executable} -m gradcheck run . | head -c 1; exit ${{PIPESTATUS[0]}}", shell=True, executable="/bin/bash",
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return f"exit {done.returncode}, nothing on standard error" if not done.stderr else done.stderr[-200:]


def two_runs_in_one_folder(folder: Path) -> str:
    for name in ("a", "b"):
        write_case(folder / name, HEAD + SQUARE)
    command = [sys.executable, "-m", "gradcheck", "run"]
    runs = [subprocess.Popen([*command, name], cwd=folder, stdout=subprocess.DEVNULL) for name in ("a", "b")]
    codes = [run.wait(timeout=120) for run in runs]
    kept = json.loads((folder / ".gradcheck_cache" / "history.json").read_text())["cases"]
    assert codes == [0, 0], codes
    assert len(kept) == 2, kept
    return "both passed, both are in the history"


def modules_of_the_same_name(folder: Path) -> str:
    write_case(folder / "a", f"{HEAD}import helper\nop = helper.op\n")
    write_case(folder / "b", f"{HEAD}import helper\nop = helper.op\n")
    (folder / "a" / "helper.py").write_text(f"{HEAD}op = tf.sin\n")
    (folder / "b" / "helper.py").write_text(f"{HEAD}def op(x):\n    raise ValueError('of b')\n")
    temporary = folder / "tmp"
    temporary.mkdir()
    done = gradcheck("run", ".", cwd=folder, env={**os.environ, "TMPDIR": str(temporary)})
    assert "1 passed, 1 errored" in done.stdout, done.stdout
    assert "of b" in done.stdout
    left = [file.name for file in temporary.rglob("*.py*")]
    assert not left, left
    return "each saw its own helper; no temporary file is left"


def a_read_only_folder(folder: Path) -> str:
    write_case(folder, HEAD + SQUARE)
    folder.chmod(0o555)
    try:
        done = gradcheck("run", ".", cwd=folder)
    finally:
        folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    return "passed" + (" (as root, whom nothing stops)" if os.geteuid() == 0 else ", nothing written")


BAD_SPECS: dict[str, tuple[bytes, str]] = {
    "not YAML": (b"a: [1,\nb: }", "not valid YAML"),
    "not UTF-8": (b"module: \xff\xfe.py\n", "not UTF-8"),
    "UTF-16": ("module: ops.py\n".encode("utf-16"), "UTF-16"),
    "empty": (b"", "empty"),
    "a list": (b"- 1\n- 2\n", "mapping"),
    "tabs": (b"module: ops.py\ncases:\n\tf: {}\n", "tabs"),
    "duplicate keys": (b"module: ops.py\nmodule: b.py\ncases: {}\n", "twice"),
    "an alias bomb": (b"a: &a [1,1,1,1,1,1,1,1,1]\n" + b"".join(
        b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(9)), "more than"),
    "deep nesting": (b"module: " + b"[" * 100_000 + b"]" * 100_000, "nested deeper"),
    "100,000 cases": (b"module: ops.py\ncases:\n" + b"".join(b"  c%d: {inputs: {}}\n" % i for i in range(100_000)),
                      "at most"),
    "an unknown key": (b"module: ops.py\ncases: {op: {inptus: {x: 1.0}}}\n", "`inputs`"),
    "a number for a mapping": (b"module: ops.py\ncases: {op: 3}\n", "mapping"),
    "a negative shape": (b"module: ops.py\ncases: {op: {inputs: {x: {shape: [-1]}}}}\n", "-1"),
    "an unknown distribution": (b"module: ops.py\ncases: {op: {inputs: {x: {shape: [1], gauss: {}}}}}\n", "gauss"),
    "low above high": (b"module: ops.py\ncases: {op: {inputs: {x: {shape: [1], uniform: {low: 2, high: 1}}}}}\n",
                       "low"),
    "a value beyond its dtype": (b"module: ops.py\ncases: {op: {inputs: {x: {values: [300], dtype: int8}}}}\n",
                                 "int8"),
    "a ragged literal": (b"module: ops.py\ncases: {op: {inputs: {x: [[1.0], [1.0, 2.0]]}}}\n", "length"),
    "no such module": (b"module: gone.py\ncases: {op: {inputs: {x: 1.0}}}\n", "gone.py"),
    "a Python tag": (b"module: !!python/object/apply:os.system ['true']\ncases: {}\n", "tag"),
    "10^12 elements": (b"module: ops.py\ncases: {op: {inputs: {x: {shape: [1000000, 1000000]}}}}\n", "GiB"),
    "a misspelt dtype": (b"module: ops.py\ncases: {op: {inputs: {x: {shape: [1], dtype: flaot32}}}}\n", "`float32`"),
    "a contradiction": (b"module: ops.py\ncases: {op: {inputs: {x: 1.0}, surrogate: f, expected_vjp: g}}\n",
                        "contradict"),
}  # fmt: skip


def bad_specs(folder: Path) -> str:
    write_case(folder, HEAD + SQUARE)
    slowest = 0.0
    for name, (text, word) in BAD_SPECS.items():
        (folder / "bad.yaml").write_bytes(text)
        started = time.monotonic()
        done = gradcheck("run", "bad.yaml", cwd=folder)
        slowest = max(slowest, time.monotonic() - started)
        assert done.returncode == 2, f"{name}: exit {done.returncode}"
        assert word in done.stderr, f"{name}: {done.stderr[:300]}"
        assert re.search(r"bad\.yaml:\d+:\d+: ", done.stderr), f"{name}: {done.stderr[:300]}"
        assert "Traceback" not in done.stderr, name
        assert len(done.stderr) < 5_000, name
    return f"{len(BAD_SPECS)} kinds refused with a place, the slowest after {slowest:.2f} s"


def odd_specs(folder: Path) -> str:
    """Run what looks wrong and is allowed: anchors and merges, NaN, a module elsewhere, an op that is none."""
    write_case(folder / "elsewhere", HEAD + SQUARE)
    (folder / "here").mkdir()
    (folder / "here" / "spec.yaml").write_text(
        "module: ../elsewhere/ops.py\ncases:\n"
        "  merged: &base {op: op, inputs: {x: {shape: [2]}}}\n"
        "  anchored: {<<: *base, seed: 3}\n"
        "  nan: {op: op, inputs: {x: [.nan, 1.0]}}\n"
        "  absent: {op: nope, inputs: {x: 1.0}}\n"
        "  no_function: {op: tf.float32, inputs: {x: 1.0}}\n"
        "  other_names: {op: op, inputs: {y: 1.0}}\n"
    )
    done = gradcheck("run", "here", "--json", "r.json", cwd=folder)
    assert done.returncode == 1, done.stderr
    cases = {case["case"]: case for case in json.loads((folder / "r.json").read_text())["cases"]}
    told = {name: sorted(f["code"] for f in case["findings"]) for name, case in cases.items()}
    assert cases["merged"]["status"] == cases["anchored"]["status"] == "passed", told
    assert "forward-nonfinite" in told["nan"], told
    assert told["absent"] == ["import-error"], told
    assert told["no_function"] == told["other_names"] == ["op-error"], told
    return "; ".join(f"{name}: {', '.join(codes) or 'passed'}" for name, codes in told.items())


SCENARIOS: dict[str, Callable[[Path], str]] = {
    "interrupt at once": interrupt_at_once,
    "interrupt while TensorFlow starts": interrupt_while_tensorflow_starts,
    "interrupt after a result": interrupt_after_a_result,
    "interrupt five times in haste": interrupt_impatiently,
    "terminate after a result": terminate_after_a_result,
    "the parent is killed": a_killed_parent_leaves_nothing,
    "a full disk": a_full_disk,
    "a path that cannot be written": a_path_that_cannot_be_written,
    "a reader that goes away": a_reader_that_goes_away,
    "two runs in one folder": two_runs_in_one_folder,
    "modules of the same name": modules_of_the_same_name,
    "a read-only folder": a_read_only_folder,
    "bad specs": bad_specs,
    "odd specs": odd_specs,
}


def main() -> int:
    """Print a line per fault; return 1 if one does not hold."""
    failed = total = 0
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        for observed in observe_all(Path(folder)):
            total += 1
            failed += not observed.holds
            print(f"{'ok  ' if observed.holds else 'FAIL'}  {observed.name:<40} {observed.what[:110]}", flush=True)
    print(f"\n{total - failed} of {total} hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
