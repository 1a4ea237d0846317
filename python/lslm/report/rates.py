"""The page of a learning-rate range test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lslm.report.charts import Series, line_chart
from lslm.report.layout import document, tile
from lslm.report.markup import element

if TYPE_CHECKING:
    from lslm.tuning.rates import RangeTest

__all__ = ["range_test_report"]


def range_test_report(result: RangeTest) -> str:
    """Return the page: loss against learning rate, and the range to search."""
    points = result.points
    chart = line_chart(
        [
            Series(label="each step", points=[(p.lr, p.loss) for p in points], style="faint"),
            Series(label="mean so far", points=[(p.lr, p.mean) for p in points]),
            Series(
                label="falls fastest, lowest",
                points=[
                    (p.lr, p.mean) for p in points if p.lr in {result.steepest, result.highest}
                ],
                style="points",
                colour=1,
            ),
        ],
        x_label="optim.lr",
        y_label="training loss, nats per token",
        log_x=True,
    )
    text = (
        "The rate rises from step to step. Below the range the loss hardly falls, above it rises; "
        "the loss also falls because the model has seen more, so the best rate of a whole run is "
        "mostly below the one where it is lowest here."
    )
    sections = [
        (
            "Loss against learning rate",
            "loss",
            [element("p", text), element("div", chart, class_="charts")],
        ),
        ("For --space", "space", element("pre", result.toml())),
    ]
    tiles = [
        tile(f"{result.low:.2g} … {result.highest:.2g}", "range to search", "optim.lr"),
        tile(f"{result.steepest:.3g}", "falls fastest", "optim.lr"),
    ]
    return document("Learning-rate range test", tiles, sections)
