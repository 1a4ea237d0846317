"""Line charts and bars as inline SVG and HTML: sharp at any size, with selectable text.

Not by a plotting library: two kinds of chart are needed, they must follow the reader's light or
dark setting, and the cleaning report must work in the base install.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lslm.report.markup import Child, Markup, element
from lslm.report.numbers import compact

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "Bar",
    "Columns",
    "Reference",
    "Series",
    "bars",
    "histogram",
    "line_chart",
    "log_ticks",
    "smooth",
    "ticks",
]

Point = tuple[float, float]

WIDTH, HEIGHT = 400.0, 250.0
"""The viewBox of every chart: at 400 units, a 12-unit letter is 10 pixels high on a phone."""
LEFT, RIGHT, TOP, BOTTOM = 46.0, 10.0, 12.0, 38.0
"""Margins around the plot, in the same units."""
MAX_POINTS = 240
"""Points of a curve to draw: more than one per 1.5 units are not seen."""
N_COLUMNS = 40
"""Columns of a histogram: about nine units each."""
MAX_STRIPES = 80
"""Columns with a tooltip of their own."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One curve: its name, its (x, y) points in order of x, and how it is drawn."""

    label: str
    points: Sequence[Point]
    style: Literal["line", "faint", "dots", "points"] = "line"
    """dots: a line with a dot at each value; points: dots alone."""
    colour: int = 0
    errors: Sequence[float] = ()
    """Half the length of the error bar of each point; empty: none."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A dashed horizontal line at ``y``, with its name."""

    label: str
    y: float


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar: ``value`` is its length, ``shown`` the text beside it, ``note`` the text below."""

    label: Child
    value: float
    shown: str
    kind: Literal["plain", "good", "bad"] = "plain"
    note: Child = None


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The values of a histogram, as (value, count), and the limit that some are outside of."""

    values: Sequence[tuple[float, int]]
    low: float
    high: float
    """The range that is drawn; values outside are in the first or last column."""
    log: bool = False
    """Whether equal ratios are equally far apart; then values at 0 are in the first column."""
    limit: float | None = None
    is_maximum: bool | None = None

    def is_outside(self, value: float) -> bool:
        """Return whether ``value`` does not keep the limit."""
        if self.limit is None or self.is_maximum is None:
            return False
        return value > self.limit if self.is_maximum else value < self.limit


def ticks(low: float, high: float, *, about: int = 5, whole: bool = False) -> list[float]:
    """Return round numbers (1, 2, 2.5 or 5 times a power of ten) within [low, high].

    ``whole``: integers only, for steps and trials.
    """
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low] if math.isfinite(low) else []
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = min(
        (m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0)), key=lambda m: abs(math.log(m / raw))
    )
    if whole and step != int(step):
        step = 5.0 if step > 2 else max(1.0, round(step))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten within [low, high], above 0; of many, powers alone."""
    if not 0 < low < high < math.inf:
        return [low] if 0 < low < math.inf else []
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    within = [m * 10.0**k for k in powers for m in (1, 2, 5) if low <= m * 10.0**k <= high]
    if len(within) > 8:
        every = math.ceil(len(powers) / 6)
        within = [10.0**k for k in powers[::every] if low <= 10.0**k <= high]
    return [float(f"{value:.6g}") for value in within] or [low]


def smooth(points: Sequence[Point], *, width: int) -> list[Point]:
    """Return the mean over a centred window of ``width`` points, narrower towards both ends.

    Points that are not finite are left out; a window without a finite point has mean NaN.
    """
    sums, counts = [0.0], [0]
    for _, y in points:
        good = math.isfinite(y)
        sums.append(sums[-1] + (y if good else 0.0))
        counts.append(counts[-1] + good)
    half, n = width // 2, len(points)
    result = []
    for i, (x, _) in enumerate(points):
        reach = min(half, i, n - 1 - i)
        low, high = i - reach, i + reach + 1
        count = counts[high] - counts[low]
        result.append((x, (sums[high] - sums[low]) / count if count else math.nan))
    return result


def line_chart(
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    references: Sequence[Reference] = (),
    from_zero: bool = False,
    log_x: bool = False,
    legend: bool = True,
    format_y: Callable[[float], str] | None = None,
) -> Markup:
    """Return a figure with axes, curves, a legend, and the values as tooltips.

    ``references`` are horizontal lines; ``from_zero`` starts the y axis at 0; ``format_y`` turns a
    value into text; with ``log_x`` equal ratios of x are equally far apart, and points at 0 or
    below are left out; without ``legend`` tooltips alone name the curves. Points that are not
    finite leave a gap. Without any finite point, the figure is a sentence that says so.
    """
    write = format_y or compact
    if log_x:
        series = [_positive(one) for one in series]
    finite = [p for s in series for p in s.points if math.isfinite(p[0]) and math.isfinite(p[1])]
    if not finite:
        return element("p", f"no {y_label} was recorded", class_="note")
    heights = [p[1] for p in finite] + [r.y for r in references if math.isfinite(r.y)]
    heights += [
        y + sign * error
        for one in series
        for (_, y), error in zip(one.points, one.errors, strict=False)
        for sign in (-1, 1)
        if math.isfinite(y + error)
    ]
    xs = [p[0] for p in finite]
    scale = _Scale.around(xs, heights, from_zero=from_zero, log_x=log_x)
    drawn = _axes(scale, x_label, write)
    for reference in references:
        if math.isfinite(reference.y):
            y = scale.y(reference.y)
            drawn.append(_line(LEFT, y, WIDTH - RIGHT, y, "reference"))
            drawn.append(_text(WIDTH - RIGHT - 2, y - 4, reference.label, "end"))
    for one in series:
        drawn.extend(_curve(one, scale))
    drawn.extend(_stripes(series, scale, x_label, write))
    svg = element(
        "svg",
        drawn,
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        role="img",
        aria_label=f"{y_label} against {x_label}",
    )
    names = [
        element("span", element("i", class_=f"swatch {s.style} c{s.colour}"), s.label)
        for s in series
        if s.points and legend
    ]
    return element(
        "figure", element("figcaption", element("b", y_label), names), svg, class_="chart"
    )


def histogram(name: str, title: Child, columns: Columns) -> Markup:
    """Return a figure of N_COLUMNS columns, red outside the limit, which is a dashed line.

    ``name`` is what the values are, for a screen reader; ``title`` stands above the figure.
    """
    scale = _Scale(columns.low, columns.high, 0.0, 1.0, columns.log)
    width = (WIDTH - LEFT - RIGHT) / N_COLUMNS
    # (column, whether it is outside) → documents: the limit may lie inside a column
    counts: dict[tuple[int, bool], int] = {}
    for value, n in columns.values:
        x = LEFT if columns.log and value <= 0 else scale.x(value)
        at = min(N_COLUMNS - 1, max(0, int((x - LEFT) / width)))
        outside = columns.is_outside(value)
        counts[at, outside] = counts.get((at, outside), 0) + n
    most = max(
        (counts.get((at, False), 0) + counts.get((at, True), 0) for at, _ in counts), default=0
    )
    scale = _Scale(columns.low, columns.high, 0.0, 1.05 * most or 1.0, columns.log)
    drawn = _axes(scale, "", compact)
    total = sum(n for _, n in columns.values) or 1
    for at in sorted({at for at, _ in counts}):
        base = 0
        for outside in (False, True):
            n = counts.get((at, outside), 0)
            if not n:
                continue
            share = f"{n:,} documents ({n / total:.1%})"
            tooltip = element("title", f"{share} outside the limit" if outside else share)
            top, bottom = scale.y(base + n), scale.y(base)
            column = element(
                "rect",
                tooltip,
                x=f"{LEFT + at * width:.1f}",
                y=f"{top:.1f}",
                width=f"{width - 1:.1f}",
                height=f"{bottom - top:.1f}",
                class_="column bad" if outside else "column",
            )
            drawn.append(column)
            base += n
    limit = math.nan if columns.limit is None else columns.limit
    if math.isfinite(limit) and not (columns.log and limit <= 0):
        x = scale.x(limit)
        drawn.append(_line(x, TOP, x, HEIGHT - BOTTOM, "reference limit"))
    box = f"0 0 {WIDTH:g} {HEIGHT - 14:g}"
    svg = element("svg", drawn, viewBox=box, role="img", aria_label=f"documents by {name}")
    return element("figure", element("figcaption", title), svg, class_="chart")


def bars(rows: Sequence[Bar], *, most: float | None = None) -> Markup:
    """Return horizontal bars; one of ``most`` (None: the largest value) fills the width."""
    largest = most if most is not None else max((r.value for r in rows), default=0.0)
    drawn = []
    for row in rows:
        share = min(1.0, max(0.0, row.value / largest)) if largest > 0 else 0.0
        drawn.append(
            element(
                "div",
                element("div", row.label, class_="label"),
                element("div", row.shown, class_="shown"),
                element(
                    "div",
                    element("i", style=f"width:{100 * share:.2f}%", class_=row.kind),
                    class_="track",
                ),
                element("div", row.note, class_="about") if row.note is not None else None,
                class_="bar",
            )
        )
    return element("div", drawn, class_="bars")


@dataclass(frozen=True)
class _Scale:
    """The range of values that the plot shows, and where a value is in the viewBox."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    log_x: bool = False
    whole_x: bool = False
    """Whether all x are integers."""

    @classmethod
    def around(
        cls, xs: Sequence[float], ys: Sequence[float], *, from_zero: bool, log_x: bool
    ) -> _Scale:
        """Return the scale that holds all values, with 6 % of space above and below."""
        low, high = (0.0 if from_zero else min(ys)), max(ys)
        margin = 0.06 * (high - low) or 0.5 * abs(high) or 1.0
        y_low, y_high = low if from_zero else low - margin, high + margin
        whole = all(x == int(x) for x in xs)
        return cls(min(xs), max(xs), y_low, y_high, log_x, whole)

    def x(self, value: float) -> float:
        low, high = self.x_low, self.x_high
        if self.log_x:
            value, low, high = math.log(value), math.log(low), math.log(high)
        share = (value - low) / ((high - low) or 1.0)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.y_low) / (self.y_high - self.y_low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _axes(scale: _Scale, x_label: str, write: Callable[[float], str]) -> list[Markup]:
    """Return grid lines, ticks, and their numbers."""
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    drawn: list[Markup] = []
    for value in ticks(scale.y_low, scale.y_high):
        y = scale.y(value)
        drawn.append(_line(LEFT, y, right, y, "grid"))
        drawn.append(_text(LEFT - 6, y + 4, write(value), "end"))
    linear = functools.partial(ticks, about=4, whole=scale.whole_x)
    along = log_ticks if scale.log_x else linear
    for value in along(scale.x_low, scale.x_high):
        x = scale.x(value)
        drawn.append(_line(x, bottom, x, bottom + 4, "axis"))
        drawn.append(_text(x, bottom + 17, compact(value), "middle"))
    drawn.append(_line(LEFT, bottom, right, bottom, "axis"))
    drawn.append(_text((LEFT + right) / 2, HEIGHT - 4, x_label, "middle"))
    return drawn


def _line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    return element(
        "line", x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}", class_=class_
    )


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _curve(series: Series, scale: _Scale) -> list[Markup]:
    """Return a curve as lines, interrupted where a point is not finite, and its dots."""
    runs: list[list[Point]] = [[]]
    for x, y in _thin(series.points):
        if math.isfinite(x) and math.isfinite(y):
            runs[-1].append((x, y))
        elif runs[-1]:
            runs.append([])
    colour = f"c{series.colour}"
    drawn = []
    for run in runs:
        path = " ".join(f"{scale.x(x):.1f},{scale.y(y):.1f}" for x, y in run)
        if len(run) > 1 and series.style != "points":
            drawn.append(element("polyline", points=path, class_=f"{series.style} {colour}"))
        if series.style in {"dots", "points"} or len(run) == 1:
            drawn.extend(
                element(
                    "circle", cx=f"{scale.x(x):.1f}", cy=f"{scale.y(y):.1f}", r="2.6", class_=colour
                )
                for x, y in run
            )
    for (x, y), error in zip(series.points, series.errors, strict=False):
        if math.isfinite(x) and math.isfinite(y + error):
            ends = (scale.y(y - error), scale.y(y + error))
            drawn.append(_line(scale.x(x), ends[0], scale.x(x), ends[1], f"error {colour}"))
    return drawn


def _positive(series: Series) -> Series:
    """Return ``series`` without the points that have no logarithm."""
    kept = [i for i, (x, _) in enumerate(series.points) if x > 0]
    errors = [series.errors[i] for i in kept] if series.errors else ()
    return dataclasses.replace(series, points=[series.points[i] for i in kept], errors=errors)


def _thin(points: Sequence[Point]) -> Sequence[Point]:
    """Return about MAX_POINTS points at most: the lowest and highest of each group, in order."""
    if len(points) <= MAX_POINTS:
        return points
    size = math.ceil(len(points) / (MAX_POINTS // 2))
    kept: list[Point] = []
    for start in range(0, len(points), size):
        group = points[start : start + size]
        finite = [p for p in group if math.isfinite(p[1])]
        if len(finite) < len(group):
            kept.append(next(p for p in group if not math.isfinite(p[1])))
        if finite:
            ends = (min(finite, key=lambda p: p[1]), max(finite, key=lambda p: p[1]))
            kept.extend(sorted(set(ends)))
    return kept


def _stripes(
    series: Sequence[Series],
    scale: _Scale,
    x_label: str,
    write: Callable[[float], str],
) -> list[Markup]:
    """Return invisible columns over the plot whose tooltips are the values of every curve there."""
    columns = sorted({p[0] for s in series if s.style != "faint" for p in s.points})
    columns = columns[:: math.ceil(len(columns) / MAX_STRIPES)] if columns else []
    middles = [scale.x(x) for x in columns]
    drawn = []
    for i, x in enumerate(columns):
        left = middles[i] if i == 0 else (middles[i - 1] + middles[i]) / 2
        right = middles[i] if i == len(columns) - 1 else (middles[i + 1] + middles[i]) / 2
        lines = [f"{x_label} {_at(x)}"]
        for one in series:
            near = min(one.points, key=lambda p: abs(p[0] - x), default=None)
            if one.style != "faint" and near is not None:
                at = "" if near[0] == x else f" (at {_at(near[0])})"
                lines.append(f"{one.label}: {write(near[1])}{at}")
        drawn.append(
            element(
                "rect",
                element("title", "\n".join(lines)),
                x=f"{left:.1f}",
                y=f"{TOP:g}",
                width=f"{max(right - left, 1.0):.1f}",
                height=f"{HEIGHT - TOP - BOTTOM:g}",
                class_="stripe",
            )
        )
    return drawn


def _at(x: float) -> str:
    """Return an x for a tooltip: whole from 100 on, with four digits below."""
    return f"{x:,.0f}" if abs(x) >= 100 or x == int(x) else f"{x:.4g}"
