"""The pages of the demo's whole way, one training run, one cleaning, one vocabulary."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from lslm.report.cleaning import funnel_parts, loss_parts, reading_parts, signal_parts
from lslm.report.layout import Section, document, fact_list, tile
from lslm.report.learning import result_parts, training_parts
from lslm.report.markup import Child, Markup, element, shortened, table
from lslm.report.metrics import MetricRow, count_parameters, read_metrics
from lslm.report.numbers import duration, fixed, number, percent, plus_minus, size
from lslm.report.vocabulary import vocabulary_parts

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from lslm.report.figures import (
        Baselines,
        Command,
        DemoResults,
        Sample,
        StageFigure,
        TokenizerFigures,
    )
    from lslm.results import Funnel, Reading, SourceLoss
    from lslm.scores import EvaluationResult

__all__ = ["clean_report", "demo_report", "run_report", "tokenizer_report"]

MAX_SAMPLE_LETTERS = 4000
"""Characters of a prompt, and of the text after it, to show."""


def demo_report(results: DemoResults) -> str:
    """Return the page of ``lslm demo``: every stage, its time, and its results."""
    result, funnel = results.evaluation, results.funnel
    corpus = element("b", results.corpus)
    steps = [
        element(
            "p", "Corpus: ", corpus, ". All files are in ", element("code", results.folder), "."
        ),
        _stage_table(results.stages),
        fact_list(results.facts),
    ]
    training = [fact_list(results.model), training_parts(results.metrics, results.baselines)]
    sections: list[Section] = [
        ("The numbers that matter", "numbers", result_parts(result, results.baselines)),
        ("Samples", "samples", _sample_parts(results.samples)),
        ("Steps", "steps", steps),
        ("Cleaning", "cleaning", funnel_parts(funnel)),
        ("Vocabulary", "vocabulary", vocabulary_parts(results.tokenizer)),
        ("Training", "training", training),
        ("By hand", "by-hand", _command_parts(results.commands)),
    ]
    bytes_per_token = result.n_bytes / max(result.n_tokens, 1)
    vocabulary = f"vocabulary of {results.tokenizer.vocab_size:,}"
    tiles = [
        tile(
            f"{result.bits_per_byte:.3f}{plus_minus(result.bits_per_byte_error)}",
            "bits per byte",
            "on text the model never saw",
        ),
        tile(number(result.perplexity), "perplexity", "equally likely choices per token"),
        tile(f"{result.loss:.3f}", "validation loss", "nats per token"),
        tile(f"{funnel.n_documents_kept:,}", "documents kept", f"of {funnel.n_documents:,}"),
        tile(f"{bytes_per_token:.2f}", "bytes per token", vocabulary),
    ]
    return document("From raw text to a measured language model", tiles, sections)


def run_report(
    folder: str | os.PathLike[str],
    *,
    evaluation: EvaluationResult | None = None,
    baselines: Baselines | None = None,
    samples: Sequence[Sample] = (),
) -> str:
    """Return the page of the training run in ``folder``, from its metrics and configuration.

    ``evaluation``, ``baselines`` and ``samples`` are shown if given. Raises ``FileNotFoundError``
    if the folder holds no ``metrics.jsonl``, ``FormatError`` if it is damaged.
    """
    folder = Path(folder)
    metrics = read_metrics(folder / "metrics.jsonl")
    sections: list[Section] = [("Training", "training", training_parts(metrics, baselines))]
    if evaluation is not None:
        sections.append(("Evaluation", "numbers", result_parts(evaluation, baselines)))
    if samples:
        sections.append(("Samples", "samples", _sample_parts(samples)))
    configuration = folder / "config.toml"
    if configuration.exists():
        text = configuration.read_text("utf-8", errors="replace")
        sections.append(("Configuration", "configuration", element("pre", text)))
    sections.append(("How", "how", fact_list(_run_facts(folder))))
    return document(f"Run {folder.resolve().name}", _run_tiles(metrics), sections)


def _run_facts(folder: Path) -> dict[str, str]:
    """Return where a run is, its size, and with what and when this page was drawn."""
    from datetime import datetime

    from lslm import __version__

    rows = {"Run": str(folder.resolve())}
    n_parameters = count_parameters(folder)
    if n_parameters:
        rows["Parameters"] = f"{n_parameters:,}"
    rows["Command"] = f"lslm train {folder}/config.toml out=ANOTHER"
    drawn = datetime.now().astimezone()
    return rows | {"Drawn": f"{drawn:%Y-%m-%d %H:%M %Z} by lslm {__version__}"}


def clean_report(
    funnel: Funnel,
    *,
    title: str = "Cleaning",
    facts: Mapping[str, str] | None = None,
    reading: Reading | None = None,
    losses: Mapping[str, SourceLoss] | None = None,
    against: Reading | None = None,
) -> str:
    """Return the page of a cleaning: kept, dropped by reason with examples, and what was changed.

    ``facts`` are rows of two columns, such as the inputs, the profile and the output folder.
    ``reading`` adds what could not be read, was replaced, or was converted; ``losses`` the sources
    that lose more than half of their documents; ``against`` what was read to compare with.
    """
    kept = percent(funnel.n_documents_kept, funnel.n_documents)
    written = percent(funnel.n_bytes_kept, funnel.n_bytes)
    tiles = [
        tile(f"{funnel.n_documents:,}", "documents in", size(funnel.n_bytes)),
        tile(f"{funnel.n_documents_kept:,}", "documents kept", kept),
        tile(size(funnel.n_bytes_kept), "written", written),
    ]
    sections: list[Section] = [("Funnel", "cleaning", funnel_parts(funnel))]
    if funnel.signals:
        sections.append(("Signals", "signals", signal_parts(funnel.signals)))
    if losses:
        sections.append(("Sources that lose more than half", "losses", loss_parts(losses)))
    if reading is not None:
        sections.append(("Reading", "reading", reading_parts(reading)))
    if against is not None:
        sections.append(("Reading of earlier documents", "against", reading_parts(against)))
    if facts:
        sections.append(("How", "how", fact_list(facts)))
    return document(title, tiles, sections)


def tokenizer_report(figures: TokenizerFigures, *, facts: Mapping[str, str] | None = None) -> str:
    """Return the page of a vocabulary: its ratios, unused and longest tokens, a text in tokens."""
    tiles = [tile(f"{figures.vocab_size:,}", "tokens", figures.pattern)]
    if figures.report is not None:
        shown = figures.report.validation or figures.report.total
        tiles += [
            tile(f"{shown.bytes_per_token:.2f}", "bytes per token", "more is better"),
            tile(f"{shown.tokens_per_word:.2f}", "tokens per word", "less is better"),
            tile(f"{len(figures.unused):,}", "unused tokens", "in the text measured"),
        ]
    sections: list[Section] = [("Vocabulary", "vocabulary", vocabulary_parts(figures))]
    if facts:
        sections.append(("How", "how", fact_list(facts)))
    return document("Vocabulary", tiles, sections)


def _run_tiles(metrics: Sequence[MetricRow]) -> list[Markup]:
    """Return best validation loss, last training loss, tokens and median speed, if recorded."""
    tiles = []
    validated = [row for row in metrics if row.validation_loss is not None]
    if validated:
        best = min(validated, key=lambda row: _or_infinity(row.validation_loss))
        at = f"at step {best.step:,}"
        tiles.append(tile(fixed(best.validation_loss), "best validation loss", at))
    trained = [row for row in metrics if row.loss is not None]
    if trained:
        at = f"at step {trained[-1].step:,}"
        tiles.append(tile(fixed(trained[-1].loss), "training loss", at))
    seen = [row.n_tokens for row in metrics if row.n_tokens is not None]
    if seen:
        tiles.append(tile(f"{seen[-1]:,}", "tokens", "trained on"))
    rates = sorted(row.tokens_per_second for row in metrics if row.tokens_per_second is not None)
    if rates:
        tiles.append(tile(f"{rates[len(rates) // 2]:,.0f}", "tokens/s", "median"))
    return tiles


def _or_infinity(value: float | None) -> float:
    return value if value is not None and not math.isnan(value) else math.inf


def _stage_table(stages: Sequence[StageFigure]) -> Markup:
    rows = []
    for stage in stages:
        name = [element("b", stage.name), element("br"), stage.note]
        output = element("code", stage.output) if stage.output else ""
        rows.append((name, duration(stage.seconds), *_amount_and_speed(stage), output))
    return table(("step", "time", "amount", "speed", "result"), rows, text_columns=(0, 4))


def _amount_and_speed(stage: StageFigure) -> tuple[str, str]:
    """Return what went through a stage, and how much per second; empty if it was not measured."""
    if stage.amount <= 0:
        return "", ""
    speed = stage.amount / stage.seconds if stage.seconds > 0 else 0.0
    if stage.unit == "bytes":
        amount, rate = size(stage.amount), f"{speed / 1e6:,.2f} MB/s"
    else:
        amount, rate = f"{_short(stage.amount)} {stage.unit}", f"{_short(speed)} {stage.unit}/s"
    return amount, rate if stage.seconds > 0 else ""


def _short(value: float) -> str:
    return f"{value:,.0f}" if value < 1e6 else f"{value / 1e6:,.2f} M"


def _sample_parts(samples: Sequence[Sample]) -> list[Child]:
    if not samples:
        return [element("p", "No samples were drawn.", class_="note")]
    parts: list[Child] = []
    for sample in samples:
        if sample.note:
            parts.append(element("p", sample.note, class_="note"))
        prompt = element("b", shortened(sample.prompt, MAX_SAMPLE_LETTERS))
        parts.append(element("pre", prompt, shortened(sample.text, MAX_SAMPLE_LETTERS), dir="auto"))
    return parts


def _command_parts(commands: Sequence[Command]) -> list[Child]:
    if not commands:
        return [element("p", "No commands were recorded.", class_="note")]
    items = [element("li", command.purpose, element("pre", command.line)) for command in commands]
    return [element("ol", items)]
