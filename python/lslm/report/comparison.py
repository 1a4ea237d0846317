"""The page of several runs: their curves in one figure, their ends in one table."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lslm.report.charts import Series, line_chart, smooth
from lslm.report.layout import Section, document, tile
from lslm.report.markup import Child, element, table
from lslm.report.metrics import MetricRow, count_parameters, read_metrics
from lslm.report.numbers import fixed

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

__all__ = ["compare_runs"]

_NOT_COMPARED = {"train.out", "train.threads", "train.checkpoint_every", "train.validate_every"}
"""Settings that do not change what is learned."""


def compare_runs(folders: Sequence[str | os.PathLike[str]]) -> str:
    """Return the page of the training runs in ``folders``, their curves over tokens.

    Raises ``FileNotFoundError`` for a folder without ``metrics.jsonl``.
    """
    runs = [Path(folder) for folder in folders]
    names = _names(runs)
    metrics = [read_metrics(run / "metrics.jsonl") for run in runs]
    ends = [_best(rows) for rows in metrics]
    sections: list[Section] = [
        ("Validation loss", "validation", _validation(names, metrics)),
        ("Training loss", "training", _training(names, metrics)),
        ("Runs", "runs", _table(runs, names, metrics)),
        ("What differs", "settings", _settings(runs, names)),
    ]
    order = sorted(range(len(runs)), key=lambda k: ends[k])
    tiles = [tile(fixed(_finite(ends[k])), names[k], "best validation loss") for k in order[:5]]
    return document(f"{len(runs)} runs", tiles, sections)


def _names(runs: Sequence[Path]) -> list[str]:
    """Return short names: the last part of each path, or the path where these are equal."""
    short = [run.resolve().name for run in runs]
    return short if len(set(short)) == len(short) else [str(run) for run in runs]


def _best(rows: Sequence[MetricRow]) -> float:
    losses = [row.validation_loss for row in rows if row.validation_loss is not None]
    return min(losses, default=math.inf)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _tokens(rows: Sequence[MetricRow]) -> float:
    """Return the tokens of a step; 1 where they are not recorded."""
    return next((row.n_tokens / row.step for row in rows if row.n_tokens and row.step), 1.0)


def _validation(names: Sequence[str], metrics: Sequence[Sequence[MetricRow]]) -> Child:
    series = [
        Series(
            label=name,
            points=[
                (_tokens(rows) * row.step, row.validation_loss)
                for row in rows
                if row.validation_loss is not None
            ],
            style="dots",
            colour=k % 4,
        )
        for k, (name, rows) in enumerate(zip(names, metrics, strict=True))
    ]
    chart = line_chart(series, x_label="tokens", y_label="validation loss, nats per token")
    return element("div", chart, class_="charts")


def _training(names: Sequence[str], metrics: Sequence[Sequence[MetricRow]]) -> Child:
    series = []
    for k, (name, rows) in enumerate(zip(names, metrics, strict=True)):
        points = [(_tokens(rows) * row.step, row.loss) for row in rows if row.loss is not None]
        width = max(3, len(points) // 40)
        mean = smooth(points, width=width)
        series.append(Series(label=f"{name}, mean of {width}", points=mean, colour=k % 4))
    chart = line_chart(series, x_label="tokens", y_label="training loss, nats per token")
    return element("div", chart, class_="charts")


def _table(
    runs: Sequence[Path], names: Sequence[str], metrics: Sequence[Sequence[MetricRow]]
) -> Child:
    rows = []
    for run, name, own in zip(runs, names, metrics, strict=True):
        rates = sorted(r.tokens_per_second for r in own if r.tokens_per_second is not None)
        tokens = [row.n_tokens for row in own if row.n_tokens is not None]
        rows.append(
            (
                name,
                f"{count_parameters(run):,}",
                f"{own[-1].step:,}" if own else "",
                f"{tokens[-1]:,}" if tokens else "",
                fixed(_finite(_best(own))),
                f"{rates[len(rates) // 2]:,.0f}" if rates else "",
            )
        )
    return table(("run", "parameters", "steps", "tokens", "best validation loss", "tokens/s"), rows)


def _settings(runs: Sequence[Path], names: Sequence[str]) -> list[Child]:
    """Return the settings in which the runs differ."""
    configs = [_flat(run / "config.toml") for run in runs]
    keys = sorted({key for config in configs for key in config} - _NOT_COMPARED)
    rows = [
        (element("code", key), *[str(config.get(key, "")) for config in configs])
        for key in keys
        if len({str(config.get(key)) for config in configs}) > 1
    ]
    if not rows:
        return [element("p", "All settings are equal.", class_="note")]
    return [table(("setting", *names), rows)]


def _flat(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content = tomllib.loads(path.read_text("utf-8"))
    return {f"{s}.{k}": value for s, section in content.items() for k, value in section.items()}
