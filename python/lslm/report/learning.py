"""The parts of a report that show how training went, and what the model scores."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from lslm.report.charts import Bar, Point, Reference, Series, bars, line_chart, smooth
from lslm.report.markup import Child, Markup, details, element, table
from lslm.report.numbers import fixed, number, plus_minus, size
from lslm.results import counted
from lslm.scores import perplexity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lslm.report.figures import Baselines
    from lslm.report.metrics import MetricRow
    from lslm.scores import EvaluationResult

__all__ = ["result_parts", "training_parts"]

MAX_SOURCES = 4
"""Sources with a curve of their own: pages have four colours."""


def training_parts(metrics: Sequence[MetricRow], baselines: Baselines | None) -> list[Child]:
    """Return the curves of a run: loss, learning rate, speed; and its validations as a table."""
    curves = _loss_curves(metrics)
    if not any(curve.points for curve in curves):
        return [element("p", "No metrics were recorded.", class_="note")]
    charts = [
        line_chart(
            curves,
            x_label="step",
            y_label="loss, nats per token",
            references=_references(baselines),
            format_y=_three_digits,
        ),
        *_loss_by_tokens(metrics, curves[1:]),
        *_loss_by_source(metrics),
        *_single_curve(metrics, "learning_rate", "learning rate", colour=2),
        *_single_curve(metrics, "gradient_norm", "gradient norm", colour=1),
        *_single_curve(metrics, "tokens_per_second", "tokens per second", colour=3),
    ]
    return [element("div", charts, class_="charts"), *_validation_table(metrics)]


def _points(metrics: Sequence[MetricRow], name: str) -> list[Point]:
    """Return (step, value) where attribute ``name`` is recorded."""
    values = [(float(row.step), getattr(row, name)) for row in metrics]
    return [(step, value) for step, value in values if value is not None]


def _loss_curves(metrics: Sequence[MetricRow]) -> list[Series]:
    """Return the curves of the training loss, of its mean, and of the validation loss."""
    training = _points(metrics, "loss")
    width = max(3, len(training) // 40)
    return [
        Series(label="each step", points=training, style="faint"),
        Series(label=f"mean of {width}", points=smooth(training, width=width)),
        Series(
            label="validation", points=_points(metrics, "validation_loss"), style="dots", colour=1
        ),
    ]


def _references(baselines: Baselines | None) -> list[Reference]:
    if baselines is None:
        return []
    references = [Reference(label="uniform model", y=baselines.uniform.loss)]
    if baselines.unigram is not None:
        references.append(Reference(label="unigram model", y=baselines.unigram.loss))
    return references


def _loss_by_tokens(metrics: Sequence[MetricRow], curves: Sequence[Series]) -> list[Markup]:
    """Return ``curves`` over tokens instead of steps, if tokens are recorded."""
    per_step = next((row.n_tokens / row.step for row in metrics if row.n_tokens and row.step), None)
    if per_step is None:
        return []
    by_tokens = [
        dataclasses.replace(curve, points=[(per_step * step, y) for step, y in curve.points])
        for curve in curves
    ]
    chart = line_chart(
        by_tokens, x_label="tokens", y_label="loss by tokens seen", format_y=_three_digits
    )
    return [chart]


def _loss_by_source(metrics: Sequence[MetricRow]) -> list[Markup]:
    """Return the chart of the validation loss of the largest sources, if there are several."""
    names = next(
        (list(row.validation_by_source) for row in metrics if row.validation_by_source), []
    )
    curves = [
        Series(
            label=name,
            points=[
                (float(row.step), row.validation_by_source[name])
                for row in metrics
                if name in row.validation_by_source
            ],
            style="dots",
            colour=colour,
        )
        for colour, name in enumerate(names[:MAX_SOURCES])
    ]
    if not curves:
        return []
    label = "validation loss by source"
    return [line_chart(curves, x_label="step", y_label=label, format_y=_three_digits)]


def _single_curve(
    metrics: Sequence[MetricRow], name: str, label: str, *, colour: int
) -> list[Markup]:
    """Return the chart of attribute ``name`` over steps, from zero, if it is recorded."""
    points = _points(metrics, name)
    if not points:
        return []
    series = Series(label=label, points=points, colour=colour)
    return [line_chart([series], x_label="step", y_label=label, from_zero=True)]


def _validation_table(metrics: Sequence[MetricRow]) -> list[Child]:
    validated = [row for row in metrics if row.validation_loss is not None]
    if not validated:
        return []
    rows = [
        (
            f"{row.step:,}",
            f"{row.n_tokens:,}" if row.n_tokens is not None else "",
            fixed(row.validation_loss),
            number(perplexity(row.validation_loss or 0.0, 1)),
        )
        for row in validated
    ]
    head = ("step", "tokens", "validation loss", "perplexity")
    title = f"Validation loss at {counted(len(validated), 'step')}"
    return [details(title, table(head, rows, text_columns=()))]


def _three_digits(value: float) -> str:
    return f"{value:.3g}"


def result_parts(result: EvaluationResult, baselines: Baselines | None) -> list[Child]:
    """Return the scores of a model beside those of the baselines, as bars of bits per byte."""
    own = result.bits_per_byte
    rows = [
        Bar(
            label=element("b", "this model"),
            value=own,
            shown=f"{own:.3f}{plus_minus(result.bits_per_byte_error)} bits per byte",
            kind="good",
            note=f"Loss {result.loss:.4f}, perplexity {number(result.perplexity)}: at each "
            "token it is as unsure as if it had that many equally likely tokens to choose from.",
        )
    ]
    if baselines is not None:
        rows += _baseline_bars(baselines, own)
    return [
        element("p", _verdict(own, baselines), class_="lead") if baselines is not None else None,
        element(
            "p",
            f"Measured on {result.n_tokens:,} tokens, which are {size(result.n_bytes)} of text. "
            "Perplexity depends on the vocabulary; bits per "
            "byte does not, so it is the figure to compare. Less is better.",
        ),
        bars(rows),
        *_details_parts(result),
    ]


def _details_parts(result: EvaluationResult) -> list[Child]:
    """Return what decides the figures: protocol, counts, fingerprints; and scores by source."""
    parts: list[Child] = []
    groups = [*result.by_dataset.items(), *result.by_source.items()]
    if len(groups) > 1:
        rows = [
            (
                name,
                f"{scores.bits_per_byte:.4f}",
                "" if scores.bits_per_byte_error is None else f"{scores.bits_per_byte_error:.4f}",
                number(scores.perplexity),
                f"{scores.n_tokens:,}",
                f"{scores.n_documents:,}",
            )
            for name, scores in groups
        ]
        head = ("source", "bits per byte", "±", "perplexity", "tokens", "documents")
        parts.append(table(head, rows))
        note = "± is the standard error, clustered by document."
        parts.append(element("p", note, class_="note"))
    if result.protocol:
        facts = [*result.summary().items(), *result.fingerprints.items()]
        parts.append(
            details(
                "Protocol, counts and fingerprints", table(("", ""), facts, text_columns=(0, 1))
            )
        )
    return [*parts, *(element("p", note, class_="note") for note in result.notes)]


def _verdict(own: float, baselines: Baselines) -> str:
    """Return in plain words whether the model beats a compressor and a model without context."""
    sentences = []
    if baselines.xz_bits_per_byte is not None:
        sentences.append(_beside(own, baselines.xz_bits_per_byte, "xz -9"))
    if baselines.unigram is not None and baselines.unigram.bits_per_byte > 0:
        sentences.append(_beside(own, baselines.unigram.bits_per_byte, "the unigram model"))
    return " ".join(sentences)


def _beside(own: float, other: float, name: str) -> str:
    """Return how many bits the model needs beside ``name``."""
    share = abs(own / other - 1)
    if share < 0.005:
        return f"The model is as good as {name}: {own:.3f} and {other:.3f} bits per byte."
    verdict, more = ("better", "fewer") if own < other else ("worse", "more")
    return f"The model is {verdict} than {name}: it needs {share:.0%} {more} bits ({other:.3f})."


def _baseline_bars(baselines: Baselines, own: float) -> list[Bar]:
    uniform, unigram, xz = baselines.uniform, baselines.unigram, baselines.xz_bits_per_byte
    rows = [
        Bar(
            label="uniform model",
            value=uniform.bits_per_byte,
            shown=f"{uniform.bits_per_byte:.3f}",
            note=f"Loss {uniform.loss:.4f}, perplexity {number(uniform.perplexity)}, the size "
            "of the vocabulary: every token is equally likely.",
        )
    ]
    if unigram is not None:
        bits = unigram.bits_per_byte
        ratio = f" The model needs {own / bits:.2f} times its bits." if bits > 0 else ""
        rows.append(
            Bar(
                label="unigram model",
                value=bits,
                shown=f"{bits:.3f}",
                note=f"Loss {unigram.loss:.4f}, perplexity {number(unigram.perplexity)}: each "
                "token is as likely as it is frequent, whatever comes before it. What the model "
                f"above is better by, it has learned from context.{ratio}",
            )
        )
    if xz is not None:
        rows.append(
            Bar(
                label=element("code", "xz -9"),
                value=xz,
                shown=f"{xz:.3f}",
                note="A compressor for any kind of file, on the held-out text alone: it has "
                "learned nothing before, and finds what repeats.",
            )
        )
    return rows
