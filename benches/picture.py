"""Pictures as SVG: bars of ratios with a mark for each peer, and points over a logarithmic axis."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lslm.report.markup import Markup, element

WIDTH, LEFT, RIGHT, TOP = 900, 250, 200, 56
"""The width of the picture and its margins, in SVG units."""
BAR, GAP, SPACE = 13, 3, 14
"""The height of a bar, the gaps between bars and between groups."""
PLOT_LEFT, PLOT_WIDTH, PLOT_HEIGHT = 64, 640, 300
"""Where the points are, in SVG units."""
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600; font-size: 13px }
  .small { fill: #57606a; font-size: 11px }
  .ahead { fill: #1a7f64 } .behind { fill: #b5482f }
  .point { fill-opacity: 0.7 } .line { fill: none; stroke-width: 1.4 }
  .ahead-line { stroke: #1a7f64 } .behind-line { stroke: #b5482f }
  .mark { fill: none; stroke: #24292f; stroke-width: 1.2 }
  .grid { stroke: #d0d7de } .one { stroke: #24292f; stroke-width: 1.4 }
  .paper { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small { fill: #9da7b1 } .paper { fill: #0d1117 }
    .ahead { fill: #3fb68f } .behind { fill: #e0765a }
    .ahead-line { stroke: #3fb68f } .behind-line { stroke: #e0765a }
    .mark { stroke: #e6edf3 } .grid { stroke: #30363d } .one { stroke: #e6edf3 }
  }"""


@dataclass
class Bar:
    """One bar: ``value`` and ``marks`` are multiples of the best peer, which ``note`` names."""

    label: str
    value: float
    marks: list[float]
    note: str


@dataclass
class Group:
    """Bars under one title."""

    title: str
    bars: list[Bar]


def draw(title: str, groups: list[Group]) -> str:
    """Return the picture as SVG; a bar below 1 has another colour and says so."""
    most = max(bar.value for group in groups for bar in group.bars)
    most = max(1.5, math.ceil(most * 2) / 2)
    scale = (WIDTH - LEFT - RIGHT) / most
    bars: list[Markup] = []
    y = TOP
    for group in groups:
        bars.append(_text(LEFT - 52, y + BAR - 2, group.title, "end"))
        for bar in group.bars:
            bars += _bar(bar, y, scale)
            y += BAR + GAP
        y += SPACE
    parts = [
        element("title", title),
        element("style", Markup(f"{STYLE}\n")),
        element("rect", class_="paper", width=WIDTH, height=y),
        _text(12, 20, title, "start", "title"),
        *_grid(most, scale, y - SPACE + 4),
        *bars,
    ]
    lines = ["\n", [[part, "\n"] for part in parts]]
    box = {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {WIDTH} {y}", "role": "img"}
    return element("svg", lines, **box) + "\n"


@dataclass
class Series:
    """Points (x, y) of one side; those of ``line`` are joined in order of x."""

    label: str
    kind: str
    points: list[tuple[float, float]]
    line: list[tuple[float, float]]


def draw_points(title: str, labels: tuple[str, str], series: list[Series], goal: float) -> str:
    """Return points over a logarithmic x as SVG, with a line at ``goal``; ``labels`` of x and y."""
    points = [point for one in series for point in one.points]
    (low_x, high_x), (low_y, high_y) = (
        (min(values) - margin, max(values) + margin)
        for values, margin in (([math.log10(x) for x, _ in points], 0.15), (_ys(points), 0.02))
    )

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - low_x) / (high_x - low_x)
        return PLOT_LEFT + across * PLOT_WIDTH, TOP + (high_y - y) / (high_y - low_y) * PLOT_HEIGHT

    bottom, right = TOP + PLOT_HEIGHT, PLOT_LEFT + PLOT_WIDTH
    parts = [
        element("title", title),
        element("style", Markup(f"{STYLE}\n")),
        element("rect", class_="paper", width=WIDTH, height=bottom + 44),
        _text(12, 20, title, "start", "title"),
        _text((PLOT_LEFT + right) / 2, bottom + 36, labels[0], "middle", "small"),
        _text(PLOT_LEFT, TOP - 10, labels[1], "start", "small"),
    ]
    for x in _decades(low_x, high_x):
        at = f"{place(x, low_y)[0]:.1f}"
        parts.append(element("line", class_="grid", x1=at, y1=TOP, x2=at, y2=bottom))
        parts.append(_text(float(at), bottom + 16, f"{x:g}", "middle", "small"))
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1) if (high_y - low_y) / s <= 7)
    ticks = [k * step for k in range(math.ceil(low_y / step), math.floor(high_y / step) + 1)]
    for y, kind in [*((tick, "grid") for tick in ticks), (goal, "one")]:
        at = f"{place(1, y)[1]:.1f}"
        parts.append(element("line", class_=kind, x1=PLOT_LEFT, y1=at, x2=right, y2=at))
        if kind == "grid":
            parts.append(_text(PLOT_LEFT - 8, round(float(at)) + 4, f"{y:.2f}", "end", "small"))
    for one in series:
        path = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in sorted(one.line))
        parts.append(element("polyline", class_=f"line {one.kind}-line", points=path))
        for x, y in one.points:
            at_x, at_y = place(x, y)
            circle = {"cx": f"{at_x:.1f}", "cy": f"{at_y:.1f}", "r": 4}
            parts.append(element("circle", class_=f"point {one.kind}", **circle))
        end_x, end_y = place(*max(one.points))
        parts.append(_text(end_x + 10, round(end_y) + 4, one.label, "start"))
    lines = ["\n", [[part, "\n"] for part in parts]]
    size = f"0 0 {WIDTH} {bottom + 44}"
    box = {"xmlns": "http://www.w3.org/2000/svg", "viewBox": size, "role": "img"}
    return element("svg", lines, **box) + "\n"


def _ys(points: list[tuple[float, float]]) -> list[float]:
    return [y for _, y in points]


def _decades(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten between 10^low and 10^high."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    numbers = [first * 10.0**power for power in powers for first in (1, 2, 5)]
    return [number for number in numbers if low <= math.log10(number) <= high]


def _grid(most: float, scale: float, bottom: int) -> list[Markup]:
    """Return the vertical lines from 0 to ``most`` with their numbers; the one at 1 is darker."""
    step = next(s for s in (0.25, 0.5, 1, 2, 5, 10) if most / s <= 8)
    grid = []
    for i in range(int(most / step) + 1):
        x = LEFT + i * step * scale
        kind, at = "one" if i * step == 1 else "grid", f"{x:.1f}"
        grid.append(element("line", class_=kind, x1=at, y1=TOP - 8, x2=at, y2=bottom))
        grid.append(_text(x, TOP - 14, f"{i * step:g}", "middle", "small"))
    return grid


def _bar(bar: Bar, y: int, scale: float) -> list[Markup]:
    kind = "ahead" if bar.value >= 1 else "behind"
    width = f"{bar.value * scale:.1f}"
    drawn = [
        _text(LEFT - 6, y + BAR - 2, bar.label, "end", "small"),
        element("rect", class_=kind, x=LEFT, y=y, width=width, height=BAR),
    ]
    drawn += [
        element("circle", class_="mark", cx=f"{LEFT + mark * scale:.1f}", cy=y + BAR / 2, r=3)
        for mark in bar.marks
    ]
    note = f"{bar.value:.2f} ×{'' if bar.value >= 1 else ' behind'} · {bar.note}"
    end = LEFT + max(bar.value, 1.0) * scale + 8
    drawn.append(_text(end, y + BAR - 2, note, "start", "small"))
    return drawn


def _text(x: float, y: float, text: str, anchor: str, kind: str | None = None) -> Markup:
    return element("text", text, x=f"{x:.1f}", y=y, text_anchor=anchor, class_=kind)
