"""The page of a scaling fit: the prediction first, then the law and its figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lslm.report.charts import Series, line_chart
from lslm.report.layout import Section, document, tile
from lslm.report.markup import Child, Markup, element, table
from lslm.report.numbers import compact

if TYPE_CHECKING:
    from lslm.tuning.family import ScalingResult

__all__ = ["scaling_report"]

N_POINTS = 60
"""Of each curve."""


def scaling_report(result: ScalingResult) -> str:
    """Return the page of a fit."""
    sections: list[Section] = [
        ("A larger run, predicted and trained", "prediction", _prediction(result)),
        ("The law", "law", _law(result)),
        ("Equal FLOPs", "isoflop", _isoflop(result)),
        ("Runs", "runs", _runs(result)),
    ]
    tiles = [
        tile(f"{result.held_out.loss:.4f}", "measured loss", "of the largest run"),
        tile(f"{result.predicted:.4f}", "predicted loss", _range(result.predicted_interval)),
        tile(f"{result.alpha:.3f}", "α, of size", _range(result.intervals["alpha"])),
        tile(f"{result.beta:.3f}", "β, of tokens", _range(result.intervals["beta"])),
    ]
    return document("Loss against size and tokens", tiles, sections)


def _range(interval: tuple[float, ...]) -> str:
    return f"{interval[0]:.4g} … {interval[1]:.4g}"


def _prediction(result: ScalingResult) -> list[Child]:
    run, error = result.held_out, result.held_out.loss - result.predicted
    inside = "inside" if result.is_within else "outside"
    text = (
        f"A run of {compact(run.n)} parameters on {compact(run.n_tokens)} tokens was not fitted: "
        f"{run.flops / max(r.flops for r in result.runs):.1f} times the FLOPs of the largest that "
        f"was. Its loss is {run.loss:.4f}, {error:+.4f} from the prediction, {inside} the 95 % "
        f"interval ({_range(result.predicted_interval)})."
    )
    points = sorted((r.flops, r.loss) for r in result.runs)
    chart = line_chart(
        [
            Series(label="fitted", points=points, style="points"),
            Series(
                label="predicted, 95 % interval",
                points=[(run.flops, result.predicted)],
                style="points",
                colour=2,
                errors=[(result.predicted_interval[1] - result.predicted_interval[0]) / 2],
            ),
            Series(label="measured", points=[(run.flops, run.loss)], style="points", colour=1),
        ],
        x_label="FLOPs of the run",
        y_label="validation loss, nats per token",
        log_x=True,
    )
    return [element("p", element("b", text)), _row_of(chart)]


def _law(result: ScalingResult) -> list[Child]:
    rows = [
        ("E, what stays", f"{result.E:.4f}", _range(result.intervals["E"])),
        ("α, of size", f"{result.alpha:.4f}", _range(result.intervals["alpha"])),
        ("β, of tokens", f"{result.beta:.4f}", _range(result.intervals["beta"])),
        (
            "β / (α + β): best size grows with FLOPs to this power",
            f"{result.beta / (result.alpha + result.beta):.4f}",
            _range(result.intervals["size_exponent"]),
        ),
        ("A", f"{result.A:.4g}", ""),
        ("B", f"{result.B:.4g}", ""),
    ]
    text = (
        "L(N, D) = E + A / N^α + B / D^β (Hoffmann et al. 2022), N parameters counted as FLOPs per "
        f"token / 6, D tokens; fitted to {len(result.runs)} runs, intervals from 200 resamplings "
        "of the residuals."
    )
    return [element("p", text), table(("", "value", "95 % interval"), rows)]


def _isoflop(result: ScalingResult) -> list[Child]:
    sizes = [run.n for run in (*result.runs, result.held_out)]
    grid = np.geomspace(min(sizes) / 3, max(sizes) * 3, N_POINTS)
    series = []
    for colour, optimum in enumerate(result.optima):
        loss = result.E + result.A * grid**-result.alpha
        loss = loss + result.B * (optimum.flops / (6 * grid)) ** -result.beta
        near = loss < 1.15 * optimum.loss  # the ends of a curve would flatten its middle
        points = [(float(n), float(y)) for n, y in zip(grid[near], loss[near], strict=True)]
        name = f"{compact(optimum.flops)} FLOPs"
        series.append(Series(label=name, points=points, colour=colour % 4))
    best = [(o.n, o.loss) for o in result.optima]
    series.append(Series(label="best size", points=best, style="dots", colour=1))
    chart = line_chart(series, x_label="N, parameters", y_label="loss by the law", log_x=True)
    rows = [
        (
            compact(o.flops),
            compact(o.n),
            f"{compact(o.n_interval[0])} … {compact(o.n_interval[1])}",
            compact(o.n_tokens),
            f"{o.n_tokens / o.n:.1f}",
            f"{o.loss:.4f}",
        )
        for o in result.optima
    ]
    head = ("FLOPs", "best size", "95 % interval", "tokens", "tokens per parameter", "loss")
    text = "Each curve spends the same FLOPs: to its left more tokens, to its right a larger model."
    return [element("p", text), _row_of(chart), table(head, rows, text_columns=())]


def _by_the_law(result: ScalingResult, n: float, n_tokens: float) -> float:
    return float(result.E + result.A * n**-result.alpha + result.B * n_tokens**-result.beta)


def _runs(result: ScalingResult) -> Child:
    rows = [
        (
            str(run.run.name),
            compact(run.n),
            f"{run.n_parameters:,}",
            f"{run.n_tokens:,}",
            compact(run.flops),
            f"{run.loss:.4f}",
            f"{_by_the_law(result, run.n, run.n_tokens):.4f}",
        )
        for run in (*result.runs, result.held_out)
    ]
    head = ("run", "N", "parameters", "tokens", "FLOPs", "loss", "by the law")
    return table(head, rows)


def _row_of(*charts: Markup) -> Markup:
    return element("div", charts, class_="charts")
