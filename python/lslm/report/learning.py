"""The parts of a report that show how a model learned, and how good it became."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lslm.report.charts import Bar, Reference, Series, bars, line_chart, smooth
from lslm.report.markup import Child, details, element, table
from lslm.report.numbers import fixed, number, size
from lslm.scores import perplexity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lslm.report.figures import Baselines, MetricRow
    from lslm.scores import EvaluationResult

__all__ = ["result_parts", "training_parts"]


def training_parts(metrics: Sequence[MetricRow], baselines: Baselines | None) -> list[Child]:
    """Return the curves of a run: loss, learning rate, speed, and the validations as a table."""
    training = [(float(r.step), r.loss) for r in metrics if r.loss is not None]
    validation = [
        (float(r.step), r.validation_loss) for r in metrics if r.validation_loss is not None
    ]
    if not training and not validation:
        return [element("p", "No metrics were recorded.", class_="note")]
    width = max(3, len(training) // 40)
    references = []
    if baselines is not None:
        references.append(Reference(label="uniform model", y=baselines.uniform.loss))
        if baselines.unigram is not None:
            references.append(Reference(label="unigram model", y=baselines.unigram.loss))
    curves = [
        Series(label="each step", points=training, style="faint"),
        Series(label=f"mean of {width}", points=smooth(training, width=width)),
        Series(label="validation", points=validation, style="dots", colour=1),
    ]
    charts: list[Child] = [
        line_chart(
            curves,
            x_label="step",
            y_label="loss, nats per token",
            references=references,
            format_y=lambda y: f"{y:.3g}",
        )
    ]
    per_step = next((r.n_tokens / r.step for r in metrics if r.n_tokens and r.step), None)
    if per_step is not None:
        by_tokens = [
            Series(
                label=curve.label,
                points=[(per_step * step, value) for step, value in curve.points],
                style=curve.style,
                colour=curve.colour,
            )
            for curve in curves[1:]
        ]
        charts.append(
            line_chart(
                by_tokens,
                x_label="tokens",
                y_label="loss by tokens seen",
                format_y=lambda y: f"{y:.3g}",
            )
        )
    rate = [(float(r.step), r.learning_rate) for r in metrics if r.learning_rate is not None]
    if rate:
        charts.append(
            line_chart(
                [Series(label="learning rate", points=rate, colour=2)],
                x_label="step",
                y_label="learning rate",
                from_zero=True,
            )
        )
    speed = [
        (float(r.step), r.tokens_per_second) for r in metrics if r.tokens_per_second is not None
    ]
    if speed:
        charts.append(
            line_chart(
                [Series(label="tokens/s", points=speed, colour=3)],
                x_label="step",
                y_label="tokens per second",
                from_zero=True,
            )
        )
    parts: list[Child] = [element("div", charts, class_="charts")]
    if validation:
        parts.append(
            details(
                f"Validation loss at {len(validation):,} steps",
                table(
                    ("step", "tokens", "validation loss", "perplexity"),
                    [
                        (
                            f"{r.step:,}",
                            f"{r.n_tokens:,}" if r.n_tokens is not None else "",
                            fixed(r.validation_loss),
                            number(perplexity(r.validation_loss, 1)),
                        )
                        for r in metrics
                        if r.validation_loss is not None
                    ],
                    text_columns=(),
                ),
            )
        )
    return parts


def result_parts(result: EvaluationResult, baselines: Baselines | None) -> list[Child]:
    """Return what a model's loss is beside those of the baselines."""
    own = result.bits_per_byte
    rows = [
        Bar(
            label=element("b", "this model"),
            value=own,
            shown=f"{own:.3f} bits per byte",
            kind="good",
            note=f"Loss {result.loss:.4f}, perplexity {number(result.perplexity)}: at each "
            "token it is as unsure as if it had that many equally likely tokens to choose from.",
        )
    ]
    if baselines is not None:
        rows += _baseline_bars(baselines, own)
    return [
        element(
            "p",
            f"Measured on {result.n_tokens:,} tokens, which are {size(result.n_bytes)} of text "
            "that was held out from the start. Perplexity depends on the vocabulary; bits per "
            "byte does not, so it is the figure to compare. Less is better.",
        ),
        bars(rows),
    ]


def _baseline_bars(baselines: Baselines, own: float) -> list[Bar]:
    uniform = baselines.uniform
    rows = [
        Bar(
            label="uniform model",
            value=uniform.bits_per_byte,
            shown=f"{uniform.bits_per_byte:.3f}",
            note=f"Loss {uniform.loss:.4f}, perplexity {number(uniform.perplexity)}, the size "
            "of the vocabulary: it takes every token for equally likely and knows nothing.",
        )
    ]
    if baselines.unigram is not None:
        unigram = baselines.unigram.bits_per_byte
        part = f"{own / unigram:.2f} times" if unigram > 0 else "compared with"
        rows.append(
            Bar(
                label="unigram model",
                value=unigram,
                shown=f"{unigram:.3f}",
                note=f"Loss {baselines.unigram.loss:.4f}, perplexity "
                f"{number(baselines.unigram.perplexity)}: it knows how frequent each token is "
                "and looks at no context; what the model above is better by, it has read out of "
                f"the words before. The model needs {part} its bits.",
            )
        )
    if baselines.xz_bits_per_byte is not None:
        rows.append(
            Bar(
                label=element("code", "xz -9"),
                value=baselines.xz_bits_per_byte,
                shown=f"{baselines.xz_bits_per_byte:.3f}",
                note="A compressor for any kind of file, given only the held-out text: it knows "
                "no language in advance and finds what repeats.",
            )
        )
    return rows
