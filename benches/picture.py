"""A picture of ratios as SVG: groups of bars, a line at 1, and a mark for each peer."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lslm.report.markup import Markup, element

WIDTH, LEFT, RIGHT, TOP = 900, 250, 200, 56
"""The width of the picture and its margins, in SVG units."""
BAR, GAP, SPACE = 13, 3, 14
"""The height of a bar, the gaps between bars and between groups."""
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600; font-size: 13px }
  .small { fill: #57606a; font-size: 11px }
  .ahead { fill: #1a7f64 } .behind { fill: #b5482f }
  .mark { fill: none; stroke: #24292f; stroke-width: 1.2 }
  .grid { stroke: #d0d7de } .one { stroke: #24292f; stroke-width: 1.4 }
  .paper { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small { fill: #9da7b1 } .paper { fill: #0d1117 }
    .ahead { fill: #3fb68f } .behind { fill: #e0765a }
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
