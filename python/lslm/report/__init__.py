"""Reports as one self-contained HTML file: no network, no script, light and dark, phone and desk.

:func:`demo_report` shows a whole way from text to a measured model, :func:`run_report` one training
run, :func:`compare_runs` several, :func:`clean_report` what cleaning dropped and why,
:func:`tokenizer_report` a vocabulary. Each returns the page as text.
"""

from __future__ import annotations

from lslm.report.comparison import compare_runs
from lslm.report.figures import (
    Baselines,
    Command,
    DemoResults,
    Sample,
    StageFigure,
    TokenizerFigures,
)
from lslm.report.metrics import MetricRow, read_metrics
from lslm.report.pages import clean_report, demo_report, run_report, tokenizer_report

__all__ = [
    "Baselines",
    "Command",
    "DemoResults",
    "MetricRow",
    "Sample",
    "StageFigure",
    "TokenizerFigures",
    "clean_report",
    "compare_runs",
    "demo_report",
    "read_metrics",
    "run_report",
    "tokenizer_report",
]
