"""Parallel coordinates as inline SVG: one axis for each parameter, one line for each trial."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lslm.report.markup import Markup, element
from lslm.report.numbers import compact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Axis", "Path", "parallel_coordinates"]

WIDTH, HEIGHT = 800.0, 330.0
"""The viewBox: twice as wide as a chart, for more axes than two."""
LEFT, RIGHT, TOP, BOTTOM = 40.0, 64.0, 44.0, 14.0
MAX_LETTERS = 12
"""Of the name of a choice beside its axis."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One parameter: its key, and how its values are placed."""

    key: str
    label: str
    log: bool = False


@dataclass(frozen=True, kw_only=True)
class Path:
    """One trial: its values by key, its tooltip, and its colour; ``is_first`` draws it on top."""

    values: Mapping[str, Any]
    title: str
    colour: int = 0
    is_first: bool = False


def parallel_coordinates(axes: Sequence[Axis], paths: Sequence[Path]) -> Markup:
    """Return a figure; a path passes below an axis whose parameter it does not have."""
    drawn: list[Markup] = []
    spacing = (WIDTH - LEFT - RIGHT) / max(len(axes) - 1, 1)
    scales = []
    for k, axis in enumerate(axes):
        values = [path.values[axis.key] for path in paths if axis.key in path.values]
        scale = _AxisScale.of(values, log=axis.log)
        scales.append(scale)
        drawn += _drawn_axis(axis, scale, LEFT + k * spacing, is_raised=k % 2 == 1)
    for path in sorted(paths, key=lambda path: path.is_first):
        points = " ".join(
            f"{LEFT + k * spacing:.1f},{scale.y(path.values.get(axis.key)):.1f}"
            for k, (axis, scale) in enumerate(zip(axes, scales, strict=True))
        )
        class_ = f"path c{path.colour}" + (" first" if path.is_first else "")
        drawn.append(
            element("polyline", element("title", path.title), points=points, class_=class_)
        )
    svg = element(
        "svg",
        drawn,
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        role="img",
        aria_label="parallel coordinates: the table of trials has the same values",
    )
    return element(
        "figure", element("div", svg, class_="scroll wide", tabindex="0"), class_="chart"
    )


@dataclass(frozen=True)
class _AxisScale:
    """Where a value stands on an axis: numbers by size, texts in alphabetical order."""

    choices: tuple[str, ...]
    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, values: Sequence[Any], *, log: bool) -> _AxisScale:
        numbers = [float(value) for value in values if _is_number(value)]
        if len(numbers) < len(values):
            return cls(tuple(sorted({str(value) for value in values})), 0.0, 1.0, log=False)
        log = log and all(value > 0 for value in numbers)
        return cls((), min(numbers, default=0.0), max(numbers, default=1.0), log)

    def y(self, value: Any) -> float:
        if value is None:
            return HEIGHT - 2
        if self.choices:
            share = (self.choices.index(str(value)) + 0.5) / len(self.choices)
        else:
            low, high, at = self.low, self.high, float(value)
            if self.log:
                low, high, at = math.log(low), math.log(high), math.log(at)
            share = (at - low) / (high - low) if high > low else 0.5
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def marks(self) -> list[tuple[float, str]]:
        if self.choices:
            return [(self.y(choice), choice[:MAX_LETTERS]) for choice in self.choices]
        return [(self.y(value), compact(value)) for value in dict.fromkeys((self.low, self.high))]


def _drawn_axis(axis: Axis, scale: _AxisScale, x: float, *, is_raised: bool) -> list[Markup]:
    """Return the line of an axis, its name, on two heights in turn, and its marks."""
    top = 14 if is_raised else 30
    line = element(
        "line",
        x1=f"{x:.1f}",
        y1=f"{TOP:g}",
        x2=f"{x:.1f}",
        y2=f"{HEIGHT - BOTTOM:g}",
        class_="axis",
    )
    name = element("text", axis.label, x=f"{x:.1f}", y=f"{top:g}", text_anchor="middle")
    marks = [
        element("text", text, x=f"{x + 4:.1f}", y=f"{y + 4:.1f}", text_anchor="start")
        for y, text in scale.marks()
    ]
    return [line, name, *marks]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
