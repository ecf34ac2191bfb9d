"""A failed case as it stands on terminals of several widths, in a pipe, without colours and in ASCII."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from gradcheck.events import CaseFinished, RunFinished
from gradcheck.reports.console import ConsoleReport, View
from gradcheck.results import CaseResult, Element, Finding, Source, summarize

MESSAGE = (
    "the gradient of `x` is wrong: gradient / reference = 1.5 at every element, and this goes on for a while longer"
)
ELEMENT = Element((1, 2), 1.501, 4.961, 3.308, 3.308, 1.654, 0.5, 1e-5, upstream=1.102, slope=4.503)
WRONG = Finding(
    "gradient-mismatch", MESSAGE, "constant-factor", "error", "divide the gradient by 1.5", "x", "eager",
    dtype="float32", elements=(ELEMENT,) * 3, wrong=12, source=Source("ops.py", 9, "grad", "return dy * 3.0 * x"),
)  # fmt: skip
WARNED = Finding("sparse-upstream", "fails for IndexedSlices", level="warning")


def result(*findings, case="factor", status="failed"):
    return CaseResult(f"spec.yaml::{case}", "spec.yaml", 3, case, status, 3.2, findings=findings)


def shown(*results, width=80, encoding="utf-8", verbosity=0, terminal=True, color=None, show=5):
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, errors="strict", write_through=True)
    out = Console(file=file, width=width, force_terminal=terminal, color_system=color, highlight=False, markup=False)
    report = ConsoleReport(out, Console(file=io.StringIO()), View(verbosity, show))
    for one in results:
        report.handle(CaseFinished(one))
    report.handle(RunFinished(summarize(list(results), 3.2, "completed"), {}))
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_nothing_is_wider_than_the_terminal_and_wrapped_lines_keep_their_indent(width):
    lines = shown(result(WRONG), width=width).splitlines()
    assert all(len(line.rstrip()) <= width for line in lines)
    first = next(i for i, line in enumerate(lines) if "the gradient of" in line)
    wrapped = lines[first : first + len(MESSAGE) // width + 1]
    assert all(line.startswith("    ") for line in wrapped)
    assert "1,2" in "".join(lines)
    assert not any("…" in line for line in lines)


def test_a_pipe_gets_every_line_whole_and_no_colours():
    text = shown(result(WRONG), terminal=False)
    assert f"    {MESSAGE} (eager, float32)" in text.splitlines()
    assert "\x1b" not in text


def test_an_ascii_stream_gets_ascii():
    assert "1,2" in shown(result(WRONG), encoding="ascii")


def test_the_wrong_number_is_red_and_the_right_one_is_not():
    row = next(line for line in shown(result(WRONG), color="standard", width=100).splitlines() if "1,2" in line)
    before, after = row.split("4.961")
    assert before.rindex("\x1b[31m") > before.rindex("1.102")
    assert "\x1b[31m" not in after


def test_a_single_finding_is_named_once_above_its_line():
    lines = shown(result(WRONG)).splitlines()
    assert sum("gradient-mismatch/constant-factor" in line for line in lines) == 1
    assert [line.strip() for line in lines[1:3]] == ["ops.py:9 in grad", "return dy * 3.0 * x"]


def test_of_several_findings_errors_come_first_each_under_its_name():
    text = shown(result(WARNED, WRONG))
    assert text.rindex("gradient-mismatch/constant-factor [x]") < text.rindex("sparse-upstream")


def test_the_count_of_further_elements_is_that_of_the_wrong_ones():
    assert "10 more: --show 12" in shown(result(WRONG), show=2)


def test_a_run_of_several_ends_with_one_line_per_failure():
    text = shown(result(WRONG), result(case="fine", status="passed"))
    assert "spec.yaml::factor  gradient-mismatch/constant-factor [x]  ops.py:9" in text.split("failures:")[1]
    assert "failures:" not in shown(result(WRONG))


def test_failures_are_apart_from_what_stands_before_and_after():
    fine = result(case="fine", status="passed")
    lines = shown(fine, result(WRONG), fine).splitlines()
    places = [i for i, line in enumerate(lines) if line.startswith(("PASS", "FAIL"))]
    assert lines[places[1] - 1].strip() == ""
    assert lines[places[2] - 1].strip() == ""


def test_quiet_is_one_line_per_failure():
    lines = shown(result(WRONG), result(case="fine", status="passed"), verbosity=-1).splitlines()
    assert [line.split()[0] for line in lines if line.strip()] == ["FAIL", "1"]


def test_what_one_line_mends_is_told_once():
    first, second = replace(WRONG, fix="return dy * 2.0 * x"), replace(WRONG, fix="return dy * 2.0 * x", wrt="y")
    text = shown(result(first, second))
    assert text.count("return dy * 2.0 * x") == 1
    assert "the line above mends this too" in text.split("gradient-mismatch/constant-factor [y]")[2]


def not_imported(case, line=1):
    traceback = f'  File "ops.py", line {line}, in <module>\n    import tabulate\nModuleNotFoundError: tabulate'
    finding = Finding("import-error", "ModuleNotFoundError: tabulate", level="error", traceback=traceback)
    return result(finding, case=case, status="errored")


def test_why_a_module_cannot_be_imported_is_said_once():
    text = shown(not_imported("a"), not_imported("b"), not_imported("c", line=2))
    assert text.count("ModuleNotFoundError: tabulate") == 2
    assert text.count("its module cannot be imported: see spec.yaml::a") == 1
    assert "rerun: gradcheck run spec.yaml::b" not in text


def test_an_error_of_two_cases_that_run_is_said_of_both():
    raised = Finding("op-error", "RuntimeError: out of order", level="error", traceback="RuntimeError: out of order")
    text = shown(result(raised, case="a", status="errored"), result(raised, case="b", status="errored"))
    assert text.count("RuntimeError: out of order") == 2
