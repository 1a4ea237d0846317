"""A picture of ratios as SVG: groups of bars, a line at 1, and marks for everybody else."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass

WIDTH, LEFT, RIGHT, TOP = 900, 250, 200, 56
BAR, GAP, SPACE = 13, 3, 14
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
    """One bar: ``value`` and ``marks`` are multiples of the best peer, ``note`` names that."""

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
    """Return the picture; a bar below 1 has another colour and says so."""
    most = max(bar.value for group in groups for bar in group.bars)
    most = max(1.5, math.ceil(most * 2) / 2)
    step = next(s for s in (0.25, 0.5, 1, 2, 5, 10) if most / s <= 8)
    scale = (WIDTH - LEFT - RIGHT) / most
    body: list[str] = []
    y = TOP
    for group in groups:
        body.append(_text(LEFT - 52, y + BAR - 2, group.title, "end"))
        for bar in group.bars:
            body += _bar(bar, y, scale)
            y += BAR + GAP
        y += SPACE
    grid = []
    for i in range(int(most / step) + 1):
        x = LEFT + i * step * scale
        kind = "one" if i * step == 1 else "grid"
        grid.append(
            f'<line class="{kind}" x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{y - SPACE + 4}"/>'
        )
        grid.append(_text(x, TOP - 14, f"{i * step:g}", "middle", "small"))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img">',
            f"<title>{html.escape(title)}</title>",
            f"<style>{STYLE}\n</style>",
            f'<rect class="paper" width="{WIDTH}" height="{y}"/>',
            _text(12, 20, title, "start", "title"),
            *grid,
            *body,
            "</svg>\n",
        ]
    )


def _bar(bar: Bar, y: int, scale: float) -> list[str]:
    kind = "ahead" if bar.value >= 1 else "behind"
    width = bar.value * scale
    drawn = [
        _text(LEFT - 6, y + BAR - 2, bar.label, "end", "small"),
        f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}"/>',
    ]
    drawn += [
        f'<circle class="mark" cx="{LEFT + mark * scale:.1f}" cy="{y + BAR / 2}" r="3"/>'
        for mark in bar.marks
    ]
    note = f"{bar.value:.2f} ×{'' if bar.value >= 1 else ' behind'} · {bar.note}"
    end = LEFT + max(bar.value, 1.0) * scale + 8
    drawn.append(_text(end, y + BAR - 2, note, "start", "small"))
    return drawn


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}"{name}>{html.escape(text)}</text>'
