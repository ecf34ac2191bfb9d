# SPDX-License-Identifier: Apache-2.0
"""Words and numbers as every report shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from gradcheck.files import shown
from gradcheck.results import CaseResult, Cost, Exact, Finding, Reach, Source
from gradcheck.text import clean, quoted

# Seven numbers of a table of elements stand beside each other in 80 columns.
NUMBER_WIDTH = 9
# Digits of a number, where no more are needed to see that it is another one.
DIGITS = 4


def number(value: object, digits: int = DIGITS) -> str:
    """Return a number of four digits in at most nine characters (but for three digits of exponent), `-` for none."""
    if value is None:
        return "-"
    if isinstance(value, float):
        text = f"{value:.{digits}g}"
        if len(text) > NUMBER_WIDTH and "e" not in text and digits == DIGITS:
            text = f"{value:.{DIGITS - 1}e}"
        return text.replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
    return clean(str(value))


def where(finding: Finding) -> str:
    """Return the modes, tape and device in which a finding was seen."""
    if len(finding.modes) > 1:
        return "; ".join(finding.modes)
    if finding.mode is None:
        return ""
    text = finding.mode + (f", tape {finding.tape}" if finding.tape else "")
    return text + (f", {finding.device}" if finding.device and finding.device != "cpu:0" else "")


def place_of(finding: Finding) -> str:
    """Return in which modes, tape, device and dtype a finding was seen: `eager, float32`."""
    return ", ".join(part for part in (where(finding), finding.dtype) if part)


def label_of(finding: Finding) -> str:
    """Return code, cause and what the finding is about: `gradient-mismatch/constant-factor [x]`."""
    return finding.label + (f" [{finding.wrt}]" if finding.wrt else "")


def failure_line(result: CaseResult) -> str:
    """Return a failed case in one line: `spec.yaml::factor  gradient-mismatch/constant-factor [x]  ops.py:9`."""
    sources = [f.source for f in errors_first(result.findings) if f.source is not None]
    place = f"  {sources[0].file}:{sources[0].line}" if sources else ""
    return clean(f"{result.id}  {outcome_of(result)}{place}")


def compared_line(result: CaseResult) -> str:
    """Return what was compared: modes with their tapes, dtypes and devices, nothing if nothing was."""
    ways: dict[str, list[str]] = {}
    for comparison in result.comparisons:
        tapes = ways.setdefault(comparison.mode, [])
        if comparison.tape and comparison.tape not in tapes:
            tapes.append(comparison.tape)
    modes = [f"{mode} (tape {' and '.join(tapes)})" if tapes else mode for mode, tapes in ways.items()]
    dtypes = dict.fromkeys(comparison.dtype for comparison in result.comparisons)
    devices = dict.fromkeys(comparison.device for comparison in result.comparisons)
    return f"compared {', '.join(modes)}; {', '.join(dtypes)}; {', '.join(devices)}" if modes else ""


def counterexample_lines(finding: Finding) -> list[str]:
    """Return the smallest inputs that show a finding, as lines for the `inputs` of a case."""
    if not finding.counterexample:
        return []
    lines = ["smallest inputs that show it:"]
    for name, item in finding.counterexample.items():
        lines.append(f"  {name}: {{values: {_listed(item['values'])}, dtype: {item['dtype']}}}")
    return lines


def _listed(values: Any) -> str:
    if isinstance(values, (list, tuple)):
        return f"[{', '.join(_listed(value) for value in values)}]"
    return str(values).lower() if isinstance(values, bool) else repr(values)


# Of less than that a reader of `1.0x faster` sees nothing.
SAME_SPEED = 1.05


def reach_lines(reach: Reach) -> list[str]:
    """Return how many sides of conditions were reached, and each that was not with its line and the reason."""
    if not reach.sides:
        return []
    lines = [f"conditions: {reach.reached} of {reach.sides} sides reached"]
    # A loop that is unrolled has one condition many times.
    for side, count in Counter(reach.unreached).items():
        word = "true" if side.side else "false"
        place = f"{side.file}:{side.line}" if side.file else "a condition"
        times = f", {count} times" if count > 1 else ""
        lines.append(f"  not reached: {place} ({side.op}) {word}{times}: {side.why}")
    if reach.only_in_grad:
        lines.append(f"  only grad_fn, not the forward, has the condition at {', '.join(reach.only_in_grad)}")
    return lines


def exact_line(exact: Exact | None) -> str:
    """Return what exact arithmetic says of a gradient; nothing where it was not asked for."""
    if exact is None:
        return ""
    points = f"at {exact.points} point{'s' * (exact.points != 1)}{f' ({exact.why})' * bool(exact.why)}"
    if exact.verdict == "identical":
        return f"exact: identical to {exact.digits} digits {points}"
    if exact.verdict == "rounded":
        return f"exact: the same formula but for rounded constants, {exact.size:.1g} apart, {points}"
    if exact.verdict == "different":
        factor = "" if exact.factor is None else f", the factor {1 + exact.factor:.16g}"
        return f"exact: different by {exact.size:.1g}{factor}"
    place = f" ({shown(exact.file)}:{exact.line})" if exact.file else ""
    return f"exact: open: {exact.why}{place}"


def exact_counts(counts: Mapping[str, int]) -> str:
    """Return how many cases have each verdict in exact arithmetic."""
    return ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))


def more_text(finding: Finding, show: int) -> str:
    """Return how many further elements are wrong, and how to see more of them; nothing if all are shown."""
    listed = len(finding.elements)
    hidden = max(finding.wrong, listed) - min(show, listed)
    return f"{hidden} more: --show {max(finding.wrong, listed)}" if hidden > 0 else ""


def cost_line(cost: Cost) -> str:
    """Return what a custom gradient costs: `cost eager, 4 rows: 2.1x faster, 0.4x memory (...)`."""
    ratio = max(cost.speed, 1e-9)
    speed = f"{ratio:.1f}x faster" if ratio >= SAME_SPEED else f"{1 / ratio:.1f}x slower"
    speed = "as fast" if 1 / SAME_SPEED < ratio < SAME_SPEED else speed
    memory = "" if cost.memory is None else f", {cost.memory:.1f}x memory"
    times = [f"{1000 * seconds:.3g} ms" for seconds in (cost.forward_s, cost.gradient_s, cost.autodiff_s)]
    rows = f"{cost.rows} row{'s' * (cost.rows != 1)}"
    told = f"forward {times[0]}, custom gradient {times[1]}, autodiff {times[2]}"
    return f"cost {cost.way}, {rows}: {speed}{memory} ({told})"


def too_few_text(reach: Reach, least: float) -> str:
    """Return what is said where fewer sides were reached than are asked for."""
    return (
        f"{reach.percent:.1f} % of the sides of conditions were reached ({reach.reached} of {reach.sides}), and"
        f" --fail-under-conditions asks for {least:g} %: -v lists the others"
    )


def outcome_of(result: CaseResult) -> str:
    """Return a case's outcome in a few words: its findings, or why it was skipped."""
    if result.status == "skipped":
        return clean(result.reason or "")
    if result.expected and result.status == "passed":
        expected = [f for f in result.findings if f.code in result.expected or f.label in result.expected]
        return clean("found as expected: " + ", ".join(_labels(expected)))
    errors = _labels([f for f in result.findings if f.level == "error"])
    warnings = list(dict.fromkeys(f"warning: {f.label}" for f in result.findings if f.level == "warning"))
    missing = [f"expected {want}, not found" for want in result.missing]
    return clean(", ".join(errors + missing + warnings + guess_words(result)))


def unmet_text(result: CaseResult, want: str) -> str:
    """Return what is said of an expectation that was not met: what to change, and where."""
    place = f" at {clean(result.spec)}:{result.expect_line}" if result.expect_line else ""
    return f"expected {want}, which was not found: if the gradient is right now, delete it from `expect`{place}"


def guess_words(result: CaseResult) -> list[str]:
    """Return what was guessed for a case without a spec: `guessed x: [4, 3]`."""
    if result.guessed is None:
        return []
    words = [_input_words(name, item) for name, item in result.guessed.inputs.items()]
    words += [f"{name}={value!r}" for name, value in result.guessed.arguments.items()]
    words += [f"build {name}={value!r}" for name, value in (result.guessed.build or {}).items()]
    return ["guessed " + ", ".join(words)] if words else []


def _input_words(name: str, item: Mapping[str, Any]) -> str:
    dtype = f" {item['dtype']}" if "dtype" in item else ""
    drawn = " one-hot" if "values" in item else ""
    if "uniform" in item:
        drawn = f" in {item['uniform']['low']:g}..{item['uniform']['high']:g}"
    return f"{name}: {item.get('shape', '?')}{dtype}{drawn}"


def _labels(findings: list[Finding]) -> list[str]:
    return list(dict.fromkeys(label_of(f) for f in findings))


def rerun_command(result: CaseResult, options: tuple[str, ...] = ()) -> str:
    """Return the command that runs only this case, with this seed, or the one that found it if it has no spec."""
    if result.rerun:
        return result.rerun
    return " ".join(quoted(word) for word in ("gradcheck", "run", result.id, "--seed", str(result.seed), *options))


def errors_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings with the errors before the warnings, each in their order."""
    return sorted(findings, key=lambda finding: finding.level != "error")


def source_text(finding: Finding) -> str:
    """Return the line of the user's code that a finding is about, `ops.py:9 in grad: return ...`, or nothing."""
    source = finding.source
    return "" if source is None else f"{source_place(source)}: {clean(source.text)}".rstrip(": ")


def source_place(source: Source) -> str:
    """Return where a line of the user's code stands: `ops.py:9 in grad`."""
    inside = f" in {source.function}" if source.function not in ("", "<lambda>") else ""
    return clean(f"{source.file}:{source.line}{inside}")


def concise_lines(result: CaseResult) -> list[str]:
    """Return one line per error of a case: `ops.py:9: gradient-mismatch/constant-factor [x] spec.yaml::factor`."""
    lines = []
    for finding in result.findings:
        if finding.level == "error":
            source = finding.source
            place = f"{source.file}:{source.line}" if source else f"{result.spec}:{result.line}"
            lines.append(f"{place}: {label_of(finding)} {result.id}")
    lines += [f"{result.spec}:{result.line}: {unmet_text(result, want)} {result.id}" for want in result.missing]
    return [clean(line) for line in lines]
