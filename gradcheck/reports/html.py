# SPDX-License-Identifier: Apache-2.0
"""One self-contained page: what failed first, with numbers and pictures; no script, no network."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from gradcheck.events import RunFinished
from gradcheck.reports import pictures
from gradcheck.reports.collected import Collected
from gradcheck.reports.elements import columns_of
from gradcheck.reports.wording import (
    cost_line,
    counterexample_lines,
    errors_first,
    label_of,
    number,
    outcome_of,
    place_of,
    reach_lines,
    rerun_command,
    source_place,
    unmet_text,
)
from gradcheck.results import CaseResult, Finding, Profile
from gradcheck.scanning.coverage import Scan
from gradcheck.text import clean
from gradcheck.version import VERSION

MAX_ROWS = 50
_ORDER = ("errored", "failed", "passed", "skipped")
_BAD = ("errored", "failed")
_VERSIONS = ("tensorflow", "numpy", "python")

_STYLE = """
:root{color-scheme:light dark;--back:#fff;--fore:#1c1c1e;--soft:#5d5d66;--line:#d8d8de;--panel:#f6f6f8;
--bad:#b3400a;--good:#1f5fa8;--warn:#7a5c00;
--c0:#2166ac;--c1:#e66101;--c2:#5e3c99}
@media (prefers-color-scheme:dark){:root{--back:#17181b;--fore:#ececf0;--soft:#a3a3ad;--line:#3a3b40;
--panel:#202126;--bad:#ff9a57;--good:#7db7f5;--warn:#e3c14d;--c0:#7db7f5;--c1:#ff9a57;--c2:#c3a6f0}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:70rem;padding:1.5rem;background:var(--back);color:var(--fore);
font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.4rem;margin:0 0 .5rem}
h3{font-size:1rem;margin:1rem 0 .3rem}
code,pre,td,th{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:.85rem}
pre{background:var(--panel);padding:.6rem;overflow-x:auto;white-space:pre-wrap;overflow-wrap:anywhere}
details{border:1px solid var(--line);border-radius:6px;margin:.5rem 0;padding:.4rem .8rem}
summary{cursor:pointer;overflow-wrap:anywhere}
.tag{display:inline-block;min-width:4.6em;font-weight:700}
.failed,.errored,.error{color:var(--bad)} .passed{color:var(--good)} .skipped,.soft{color:var(--soft)}
.warning{color:var(--warn)}
table{border-collapse:collapse;margin:.4rem 0} td,th{padding:.1rem .6rem;text-align:right;border-bottom:1px solid
var(--line)} .scroll{overflow-x:auto}
.row{display:flex;flex-wrap:wrap;gap:1.2rem;align-items:flex-start}
figure{margin:.3rem 0} figcaption{color:var(--soft);font-size:.8rem}
svg{max-width:100%} svg text{fill:currentColor;font-size:10px} svg .frame{fill:none;stroke:var(--line)}
svg .guide{stroke:var(--soft);stroke-dasharray:3 3} svg .right{fill:var(--c0);fill-opacity:.6}
svg .wrong{fill:var(--c1)} svg .curve{fill:none;stroke-width:1.6}
svg .curve0{stroke:var(--c0)} svg .curve1{stroke:var(--c1)} svg .curve2{stroke:var(--c2)}
ol{margin:.3rem 0 1rem;padding-left:1.6rem} a{color:inherit} td.wrong{color:var(--bad);font-weight:700}
.code{border-left:3px solid var(--bad)} .fix{color:var(--good)}
@media print{body{max-width:none;padding:0;font-size:11px} details{break-inside:avoid-page} pre{white-space:pre-wrap}}
"""


class HtmlReport(Collected):
    """Collect events; `text` is the page once the run has finished."""

    def __init__(self, options: Mapping[str, Any], scan: Scan | None = None) -> None:
        super().__init__()
        self.options, self.scan = options, scan

    def text(self) -> str:
        """Return the page."""
        cases = sorted(self.cases, key=lambda case: (_ORDER.index(case.status), case.id))
        body = [_head(self.finished), _index(cases), *(_case(case) for case in cases)]
        body += [_coverage(self.scan)] if self.scan is not None and self.scan.sites else []
        body.append(_environment(self.options, self.finished))
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
            f"<title>gradcheck report</title><style>{_STYLE}</style></head><body>\n"
            + "\n".join(body)
            + "\n</body></html>\n"
        )


def fragment(case: CaseResult) -> str:
    """Return one case as part of a page of somebody else's, as notebooks show it."""
    return _case(case)


def _text(value: object) -> str:
    return escape(clean(str(value)))


def _head(finished: RunFinished | None) -> str:
    if finished is None:
        return "<h1>gradcheck</h1>"
    summary = finished.summary
    counts = {name: getattr(summary, name) for name in ("passed", "failed", "errored", "skipped")}
    listed = ", ".join(f'<span class="{name}">{count} {name}</span>' for name, count in counts.items() if count)
    stopped = "" if summary.stop_reason == "completed" else f" (stopped: {_text(summary.stop_reason)})"
    warned = f", {summary.warnings} warning{'s' * (summary.warnings != 1)}" if summary.warnings else ""
    versions = [f"gradcheck {VERSION}"]
    versions += [f"{name} {finished.environment[name]}" for name in _VERSIONS if name in finished.environment]
    now = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return (
        f"<h1>Gradient check</h1><p>{listed or 'nothing run'}{warned} in {summary.duration_s:.1f} s{stopped}</p>"
        f'<p class="soft">{_text(now)}; {_text(", ".join(versions))}</p>'
    )


def _index(cases: Iterable[CaseResult]) -> str:
    """Return a list of the cases that failed, each with a link to where it stands."""
    links = [
        f'<li><a href="#{_anchor(case)}"><code>{_text(case.id)}</code></a> {_text(outcome_of(case))}</li>'
        for case in cases
        if case.status in _BAD
    ]
    return f"<ol>{''.join(links)}</ol>" if links else ""


def _anchor(case: CaseResult) -> str:
    """Return a name for a place of the page: an id may hold what an address must not."""
    return "case-" + case.id.encode("utf-8", "surrogateescape").hex()


def _case(case: CaseResult) -> str:
    is_open = " open" if case.status in _BAD else ""
    parts = [
        f'<details{is_open} id="{_anchor(case)}"><summary><span class="tag {case.status}">{case.status}</span>'
        f" <code>{_text(case.id)}</code>"
        f' <span class="soft">{_text(outcome_of(case))} &middot; {case.duration_s:.1f} s</span></summary>'
    ]
    if case.reason:
        parts.append(f"<p>reason: {_text(case.reason)}</p>")
    parts += [f'<p class="error">{_text(unmet_text(case, want))}</p>' for want in case.missing]
    parts += [_finding(finding) for finding in errors_first(case.findings)]
    # Where nothing is wrong there is nothing to see.
    parts += [_profile(profile) for profile in case.profiles if any(profile.wrong)]
    if case.comparisons:
        parts.append(_comparisons(case))
    if case.cost:
        parts.append(_costs(case))
    parts += [f'<p class="soft">{_text(line)}</p>' for line in reach_lines(case.conditions)]
    if case.output:
        parts.append(f"<h3>output</h3><pre>{_text(case.output)}</pre>")
    parts.append(
        f'<p class="soft">seed {case.seed}, coverage {_text(case.coverage)}, reference {_text(case.reference or "-")},'
        f" {case.elements} elements, {case.inconclusive} inconclusive; rerun: <code>{_text(rerun_command(case))}</code>"
        "</p></details>"
    )
    return "\n".join(parts)


def _finding(finding: Finding) -> str:
    place = place_of(finding)
    parts = [
        f'<h3><span class="{finding.level}">{_text(label_of(finding))}</span>'
        f' <span class="soft">{_text(place)}</span></h3>'
    ]
    parts.append(f"<p>{_text(finding.message)}</p>")
    if finding.source is not None and not finding.traceback:
        place = source_place(finding.source)
        parts.append(f'<pre class="code"><span class="soft">{_text(place)}</span>\n{_text(finding.source.text)}</pre>')
    if finding.traceback:
        parts.append(f"<pre>{_text(finding.traceback)}</pre>")
    if finding.fix:
        parts.append(f'<p class="fix">fix (verified): <code>{_text(finding.fix)}</code></p>')
    if finding.elements:
        parts.append(_elements(finding))
    if finding.counterexample:
        parts.append(f"<pre>{_text(chr(10).join(counterexample_lines(finding)))}</pre>")
    if finding.hint and not finding.fix:
        parts.append(f"<p>hint: {_text(finding.hint)}</p>")
    return "\n".join(parts)


def _elements(finding: Finding) -> str:
    columns = columns_of(finding, MAX_ROWS)
    head = "".join(f"<th>{_text(column.head)}</th>" for column in columns)
    rows = []
    for row in range(len(columns[0].cells)):
        cells = (f"<td{' class=wrong' if c.wrong else ''}>{_text(c.cells[row])}</td>" for c in columns)
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    top = "".join(f"<th>{_text(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'


def _profile(profile: Profile) -> str:
    """Return the pictures of a wrong gradient: where it is wrong, then the gradients, then the steps, folded."""
    shown = len(profile.analytic)
    cut = f", the first {shown} of {profile.elements} elements" if shown < profile.elements else ""
    error, legend = pictures.error_map(profile)
    first = [(f"where it is wrong; {legend}", error), ("analytic against finite difference", pictures.scatter(profile))]
    gradients = pictures.gradient_maps(profile)
    steps = pictures.convergence(profile.convergence)
    parts = [f"<h3>gradient of {_text(profile.wrt)}{cut}</h3>", _figures(first), _figures(gradients)]
    if steps:
        title = "finite difference over its steps, worst elements"
        parts.append(f"<details><summary>{title}</summary>{_figures([(title, steps)])}</details>")
    return "\n".join(parts)


def _figures(figures: Iterable[tuple[str, str]]) -> str:
    drawn = (f"<figure>{svg}<figcaption>{_text(title)}</figcaption></figure>" for title, svg in figures if svg)
    return f'<div class="row">{"".join(drawn)}</div>'


def _comparisons(case: CaseResult) -> str:
    rows = [
        (c.check, c.wrt, c.mode, c.tape or "-", c.device, c.dtype, "yes" if c.ok else "NO", str(c.elements),
         number(c.max_abs_error), number(c.max_rel_error), number(c.tolerance))
        for c in case.comparisons
    ]  # fmt: skip
    head = ("check", "of", "mode", "tape", "device", "dtype", "ok", "elements", "abs error", "rel error", "tolerance")
    return f"<details><summary>{len(rows)} comparisons</summary>{_table(head, rows)}</details>"


def _costs(case: CaseResult) -> str:
    """Return bars of the times of custom gradient and autodiff, one pair for each way."""
    longest = max(max(cost.gradient_s, cost.autodiff_s) for cost in case.cost) or 1.0
    rows = []
    for cost in case.cost:
        for name, seconds, colour in (("custom", cost.gradient_s, "--c0"), ("autodiff", cost.autodiff_s, "--c1")):
            bar = f'<div style="width:{100 * seconds / longest:.0f}%;background:var({colour})">&nbsp;</div>'
            told = f"{_text(cost.way)}, {cost.rows} rows, {name}: {1000 * seconds:.3g} ms"
            rows.append(f"<p>{told}</p>{bar}")
    lines = "".join(f"<li>{_text(cost_line(cost))}</li>" for cost in case.cost)
    return f"<h3>cost</h3><ul>{lines}</ul>{''.join(rows)}"


def _coverage(scan: Scan) -> str:
    rows = [(f"{s.file}:{s.line}", s.name, s.kind, s.how, s.covered or "not covered") for s in scan.sites]
    table = _table(("where", "custom gradient", "kind", "declared by", "covered by"), rows)
    open_ = " open" if any(not s.covered for s in scan.sites) else ""
    summary = f"{len(rows)} custom gradients in the checked modules, {scan.percent:.0f} % covered"
    return f"<details{open_}><summary>{summary}</summary>{table}</details>"


def _environment(options: Mapping[str, Any], finished: RunFinished | None) -> str:
    facts = {"gradcheck": VERSION, **(finished.environment if finished else {}), **options}
    rows = [
        (str(key), ", ".join(map(str, value)) if isinstance(value, list) else str(value))
        for key, value in facts.items()
    ]
    return f"<h3>environment</h3>{_table(('what', 'value'), rows)}"
