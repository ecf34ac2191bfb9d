# SPDX-License-Identifier: Apache-2.0
"""Small SVG pictures of a profile: heat maps, a scatter, the convergence of a difference.

Colours are safe for colour-blind readers: blue to orange around zero for gradients, dark to
light for errors.  Text and axes take the page's own colour, so they read on light and dark.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from html import escape

from gradcheck.reports.wording import number
from gradcheck.results import Convergence, Profile

MAX_ROWS, MAX_COLUMNS = 32, 48
_SIDE = 220
_BLUE, _WHITE, _ORANGE, _GREY = (33, 102, 172), (247, 247, 247), (230, 97, 1), "#9a9a9a"
# Points of the cividis map, made for readers with and without colour vision deficiency.
_ERROR = ((0, 32, 77), (65, 77, 107), (124, 123, 120), (188, 175, 111), (255, 234, 70))

Color = Callable[[float], str]


def gradient_maps(profile: Profile) -> list[tuple[str, str]]:
    """Return (title, svg) of the three gradients on one scale, of which the first title says the end."""
    parts = [("analytic", profile.analytic), ("autodiff", profile.autodiff)]
    parts.append(("finite difference", profile.finite_difference))
    largest = max((abs(v) for _, values in parts for v in values if math.isfinite(v)), default=0.0)
    drawn = [(title, heat_map(profile.shape, values, _around_zero(largest))) for title, values in parts if values]
    scale = f": blue is {number(-largest)}, orange {number(largest)}"
    return [(title + scale * (place == 0), svg) for place, (title, svg) in enumerate(drawn)]


def error_map(profile: Profile) -> tuple[str, str]:
    """Return the heat map of |analytic - reference|, and its legend: right elements are grey, wrong ones by decade."""
    wrong = [error if bad else 0.0 for error, bad in zip(profile.error, profile.wrong, strict=True)]
    sizes = [value for value in wrong if math.isfinite(value) and value > 0]
    legend = "grey is within the tolerance"
    if sizes:
        legend += f", dark to light an error of {number(min(sizes))} to {number(max(sizes))}"
    if any(not math.isfinite(value) for value in wrong):
        legend += ", red no number"
    return heat_map(profile.shape, wrong, _by_decade(wrong)), legend


def heat_map(shape: tuple[int, ...], values: Sequence[float], color: Color) -> str:
    """Return a heat map; leading axes are stacked, large arrays shown by the largest entry of each block."""
    columns = shape[-1] if shape else 1
    rows = len(values) // columns if columns else 0
    if not rows:
        return '<svg viewBox="0 0 10 10" role="img"></svg>'
    high, wide = math.ceil(rows / MAX_ROWS), math.ceil(columns / MAX_COLUMNS)
    down, across = math.ceil(rows / high), math.ceil(columns / wide)
    size = _SIDE / max(across, down, 4)
    cells = []
    for i in range(down):
        for j in range(across):
            block = [
                (r, c)
                for r in range(i * high, min(rows, (i + 1) * high))
                for c in range(j * wide, min(columns, (j + 1) * wide))
            ]
            r, c = max(block, key=lambda place: _weight(values[place[0] * columns + place[1]]))
            value = values[r * columns + c]
            title = f"{_index(shape, r * columns + c)}: {number(value)}"
            cells.append(
                f'<rect x="{j * size:.2f}" y="{i * size:.2f}" width="{size:.2f}" height="{size:.2f}"'
                f' fill="{color(value)}"><title>{escape(title)}</title></rect>'
            )
    view = f"0 0 {across * size:.2f} {down * size:.2f}"
    return f'<svg viewBox="{view}" width="{across * size:.0f}" role="img">{"".join(cells)}</svg>'


def _weight(value: float) -> float:
    return math.inf if math.isnan(value) else abs(value)


def _index(shape: tuple[int, ...], place: int) -> str:
    index = []
    for size in reversed(shape):
        place, position = divmod(place, size)
        index.append(position)
    return "[" + ", ".join(map(str, reversed(index))) + "]"


def _around_zero(largest: float) -> Color:
    def color(value: float) -> str:
        if not math.isfinite(value):
            return "#000000"
        t = value / largest if largest else 0.0
        return _mix(_WHITE, _ORANGE if t > 0 else _BLUE, math.sqrt(abs(t)))

    return color


def _by_decade(values: Sequence[float]) -> Color:
    sizes = [v for v in values if math.isfinite(v) and v > 0]
    top = math.log10(max(sizes)) if sizes else 0.0
    bottom = max(math.log10(min(sizes)), top - 12) if sizes else -1.0

    def color(value: float) -> str:
        if not math.isfinite(value):
            return "#d7191c"
        if value <= 0:
            return _GREY
        t = (math.log10(value) - bottom) / (top - bottom) if top > bottom else 1.0
        place = min(max(t, 0.0), 1.0) * (len(_ERROR) - 1)
        low = min(int(place), len(_ERROR) - 2)
        return _mix(_ERROR[low], _ERROR[low + 1], place - low)

    return color


def _mix(a: tuple[int, int, int], b: tuple[int, int, int], t: float) -> str:
    return "#" + "".join(f"{round(x + (y - x) * t):02x}" for x, y in zip(a, b, strict=True))


def scatter(profile: Profile) -> str:
    """Return analytic against finite difference; a right gradient lies on the diagonal."""
    pairs = [
        (x, y, wrong)
        for x, y, wrong in zip(profile.finite_difference, profile.analytic, profile.wrong, strict=True)
        if math.isfinite(x) and math.isfinite(y)
    ]
    if not pairs:
        return ""
    low = min(min(x, y) for x, y, _ in pairs)
    high = max(max(x, y) for x, y, _ in pairs)
    if high == low:
        low, high = low - 1, high + 1
    plot = _Plot((low, high), (low, high))
    dots = []
    for x, y, wrong in sorted(pairs, key=lambda pair: pair[2]):
        mark = "wrong" if wrong else "right"
        dots.append(f'<circle cx="{plot.x(x):.1f}" cy="{plot.y(y):.1f}" r="{3.2 if wrong else 2.2}" class="{mark}"/>')
    ends = f'x1="{plot.x(low):.1f}" y1="{plot.y(low):.1f}" x2="{plot.x(high):.1f}" y2="{plot.y(high):.1f}"'
    return plot.draw(f'<line {ends} class="guide"/>{"".join(dots)}', "finite difference", "analytic")


def convergence(curves: Sequence[Convergence]) -> str:
    """Return how far the difference at each step is from the one at the best step, both as powers of ten."""
    lines = []
    for curve in curves:
        pairs = [(s, e) for s, e in zip(curve.steps, curve.estimates, strict=True) if math.isfinite(e) and s > 0]
        if len(pairs) < 3:
            continue
        best = _most_settled([e for _, e in pairs])
        scale = abs(best) or 1.0
        points = [(math.log10(s), math.log10(max(abs(e - best) / scale, 1e-16))) for s, e in pairs]
        lines.append((curve.index, points))
    if not lines:
        return ""
    xs = [x for _, points in lines for x, _ in points]
    ys = [y for _, points in lines for _, y in points]
    plot = _Plot((min(xs), max(xs)), (min(-16.0, *ys), max(0.0, *ys)))
    drawn = []
    for place, (index, points) in enumerate(lines):
        path = " ".join(f"{plot.x(x):.1f},{plot.y(y):.1f}" for x, y in points)
        title = escape(str(list(index)))
        drawn.append(f'<polyline points="{path}" class="curve curve{place % 3}"><title>{title}</title></polyline>')
    return plot.draw("".join(drawn), "log10 step", "log10 change")


def _most_settled(estimates: Sequence[float]) -> float:
    changes = [abs(b - a) for a, b in itertools.pairwise(estimates)]
    return estimates[changes.index(min(changes)) + 1]


class _Plot:
    """Map data to a square with a labelled frame."""

    left, top, side = 46, 6, 190

    def __init__(self, xs: tuple[float, float], ys: tuple[float, float]) -> None:
        self.xs, self.ys = xs, ys

    def x(self, value: float) -> float:
        return self.left + self.side * (value - self.xs[0]) / ((self.xs[1] - self.xs[0]) or 1.0)

    def y(self, value: float) -> float:
        return self.top + self.side * (1 - (value - self.ys[0]) / ((self.ys[1] - self.ys[0]) or 1.0))

    def draw(self, body: str, xlabel: str, ylabel: str) -> str:
        right, bottom = self.left + self.side, self.top + self.side
        frame = f'<rect x="{self.left}" y="{self.top}" width="{self.side}" height="{self.side}" class="frame"/>'
        labels = [
            (self.left, bottom + 12, "start", number(self.xs[0])),
            (right, bottom + 12, "end", number(self.xs[1])),
            ((self.left + right) / 2, bottom + 24, "middle", xlabel),
            (self.left - 3, bottom, "end", number(self.ys[0])),
            (self.left - 3, self.top + 9, "end", number(self.ys[1])),
        ]
        text = "".join(f'<text x="{x}" y="{y}" text-anchor="{a}">{escape(t)}</text>' for x, y, a, t in labels)
        middle = (self.top + bottom) / 2
        text += f'<text transform="translate(10 {middle}) rotate(-90)" text-anchor="middle">{escape(ylabel)}</text>'
        return f'<svg viewBox="0 0 {right + 6} {bottom + 28}" width="{right + 6}" role="img">{frame}{body}{text}</svg>'
