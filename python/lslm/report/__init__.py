"""Reports as one self-contained HTML file: no network, no script, light and dark, phone and desk.

``demo_report`` shows a whole way from text to a measured model, ``run_report`` one training run,
``clean_report`` what cleaning dropped and why. Each returns the page; ``write`` puts it on disk.
"""

from __future__ import annotations

import math
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lslm.report.charts import Bar, bars
from lslm.report.figures import (
    Baselines,
    Change,
    Command,
    DemoResults,
    Example,
    Funnel,
    FunnelRow,
    MetricRow,
    Sample,
    StageFigure,
    TextFigures,
    TokenizerFigures,
    read_metrics,
)
from lslm.report.learning import result_parts, training_parts
from lslm.report.markup import Child, Markup, details, element, page, table
from lslm.report.numbers import duration, fixed, number, percent, size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lslm.scores import EvaluationResult

__all__ = [
    "Baselines",
    "Change",
    "Command",
    "DemoResults",
    "Example",
    "Funnel",
    "FunnelRow",
    "MetricRow",
    "Sample",
    "StageFigure",
    "TextFigures",
    "TokenizerFigures",
    "clean_report",
    "demo_report",
    "read_metrics",
    "run_report",
    "write",
]

_EXAMPLE_LETTERS = 400
_SAMPLE_LETTERS = 4000
_SAMPLE_TOKENS = 600
_FILES = 20
_UNUSED = 100
_RUN = re.compile(r"(.)\1{7,}", re.DOTALL)


def demo_report(results: DemoResults) -> str:
    """Return the page of ``lslm demo``: every stage, what it took, and what came of it."""
    result, funnel = results.evaluation, results.funnel
    sections: list[tuple[str, str, Child]] = [
        (
            "Steps",
            "steps",
            [
                element(
                    "p",
                    "Corpus: ",
                    element("b", results.corpus),
                    ". Everything lies in ",
                    element("code", results.folder),
                    ".",
                ),
                _stage_table(results.stages),
                _facts(results.facts),
            ],
        ),
        ("Cleaning", "cleaning", _funnel_parts(funnel)),
        ("Vocabulary", "vocabulary", _tokenizer_parts(results.tokenizer)),
        (
            "Training",
            "training",
            [_facts(results.model), training_parts(results.metrics, results.baselines)],
        ),
        ("The numbers that matter", "numbers", result_parts(result, results.baselines)),
        ("Samples", "samples", _sample_parts(results.samples)),
        ("By hand", "by-hand", _command_parts(results.commands)),
    ]
    tiles = [
        _tile(f"{result.bits_per_byte:.3f}", "bits per byte", "on text the model never saw"),
        _tile(number(result.perplexity), "perplexity", "equally likely choices per token"),
        _tile(f"{result.loss:.3f}", "validation loss", "nats per token"),
        _tile(f"{funnel.documents_kept:,}", "documents kept", f"of {funnel.documents:,}"),
        _tile(
            f"{result.n_bytes / max(result.n_tokens, 1):.2f}",
            "bytes per token",
            f"vocabulary of {results.tokenizer.vocab_size:,}",
        ),
    ]
    return _document("From raw text to a measured language model", tiles, sections)


def run_report(
    folder: str | Path,
    *,
    evaluation: EvaluationResult | None = None,
    baselines: Baselines | None = None,
    samples: Sequence[Sample] = (),
) -> str:
    """Return the page of the training run in ``folder``, from its metrics and configuration.

    ``evaluation``, ``baselines`` and ``samples`` are shown when given. Raises
    ``FileNotFoundError`` if the folder holds no ``metrics.jsonl``, ``FormatError`` if it is broken.
    """
    folder = Path(folder)
    metrics = read_metrics(folder / "metrics.jsonl")
    training = [row for row in metrics if row.loss is not None]
    validation = [row for row in metrics if row.validation_loss is not None]
    tiles = []
    if validation:
        best = min(validation, key=lambda row: _or_infinity(row.validation_loss))
        tiles.append(
            _tile(fixed(best.validation_loss), "best validation loss", f"at step {best.step:,}")
        )
    if training:
        tiles.append(
            _tile(fixed(training[-1].loss), "training loss", f"at step {training[-1].step:,}")
        )
    seen = [row.n_tokens for row in metrics if row.n_tokens is not None]
    if seen:
        tiles.append(_tile(f"{seen[-1]:,}", "tokens", "trained on"))
    rates = sorted(row.tokens_per_second for row in metrics if row.tokens_per_second is not None)
    if rates:
        tiles.append(_tile(f"{rates[len(rates) // 2]:,.0f}", "tokens/s", "median"))
    sections: list[tuple[str, str, Child]] = [
        ("Training", "training", training_parts(metrics, baselines))
    ]
    if evaluation is not None:
        sections.append(("Evaluation", "numbers", result_parts(evaluation, baselines)))
    if samples:
        sections.append(("Samples", "samples", _sample_parts(samples)))
    configuration = folder / "config.toml"
    if configuration.exists():
        text = configuration.read_text("utf-8", errors="replace")
        sections.append(("Configuration", "configuration", element("pre", text)))
    return _document(f"Run {folder.resolve().name}", tiles, sections)


def clean_report(
    funnel: Funnel, *, title: str = "Cleaning", facts: Mapping[str, str] | None = None
) -> str:
    """Return the page of a cleaning: kept, dropped by reason with examples, and what was changed.

    ``facts`` are rows of two columns such as the inputs, the profile and the output folder.
    """
    tiles = [
        _tile(f"{funnel.documents:,}", "documents in", size(funnel.bytes)),
        _tile(
            f"{funnel.documents_kept:,}",
            "documents kept",
            percent(funnel.documents_kept, funnel.documents),
        ),
        _tile(size(funnel.bytes_kept), "written", percent(funnel.bytes_kept, funnel.bytes)),
    ]
    sections: list[tuple[str, str, Child]] = [("Funnel", "cleaning", _funnel_parts(funnel))]
    if facts:
        sections.append(("How", "how", _facts(facts)))
    return _document(title, tiles, sections)


def write(path: str | Path, document: str) -> None:
    """Write a page to ``path``: whole or not at all."""
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(document)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


# Parts


def _document(
    title: str, tiles: Sequence[Markup], sections: Sequence[tuple[str, str, Child]]
) -> str:
    contents = element(
        "nav", [element("a", name, href=f"#{anchor}") for name, anchor, _ in sections]
    )
    body = [
        element("section", element("h2", name), children, id=anchor)
        for name, anchor, children in sections
    ]
    return page(
        title,
        element("header", element("h1", title), element("div", tiles, class_="tiles"), contents),
        body,
    )


def _tile(value: str, name: str, note: str) -> Markup:
    return element(
        "div", element("b", value), element("span", name), element("small", note), class_="tile"
    )


def _facts(rows: Mapping[str, str]) -> Markup | None:
    if not rows:
        return None
    return element(
        "dl", [[element("dt", name), element("dd", value)] for name, value in rows.items()]
    )


def _stage_table(stages: Sequence[StageFigure]) -> Markup:
    rows = []
    for stage in stages:
        if stage.unit == "bytes":
            amount, rate = size(stage.amount), f"{_rate(stage) / 1e6:,.2f} MB/s"
        else:
            amount = f"{_short(stage.amount)} {stage.unit}"
            rate = f"{_short(_rate(stage))} {stage.unit}/s"
        measured = stage.amount > 0 and stage.seconds > 0
        rows.append(
            (
                [element("b", stage.name), element("br"), stage.note],
                duration(stage.seconds),
                amount if stage.amount > 0 else "",
                rate if measured else "",
                element("code", stage.output) if stage.output else "",
            )
        )
    return table(("step", "time", "amount", "speed", "result"), rows, text_columns=(0, 4))


def _rate(stage: StageFigure) -> float:
    return stage.amount / stage.seconds if stage.seconds > 0 else 0.0


def _short(value: float) -> str:
    return f"{value:,.0f}" if value < 1e6 else f"{value / 1e6:,.2f} M"


def _funnel_parts(funnel: Funnel) -> list[Child]:
    read = funnel.bytes - funnel.bytes_dropped  # of the documents that were kept
    rows = [
        Bar(
            label="read",
            value=funnel.documents,
            shown=f"{funnel.documents:,} · {size(funnel.bytes)}",
        ),
        Bar(
            label="kept",
            value=funnel.documents_kept,
            shown=_share(funnel.documents_kept, read, funnel),
            kind="good",
        ),
    ]
    dropped = sorted(funnel.dropped, key=lambda row: (-row.documents, row.reason))
    rows += [
        Bar(
            label=["dropped: ", element("code", row.reason)],
            value=row.documents,
            shown=_share(row.documents, row.bytes, funnel),
            kind="bad",
        )
        for row in dropped
    ]
    parts: list[Child] = [bars(rows, most=funnel.documents)]
    if not dropped:
        parts.append(element("p", "Nothing was dropped.", class_="note"))
    removed = read - funnel.bytes_kept
    if removed == 0:
        change = "as much as was read of them"
    elif removed > 0:
        change = f"{size(removed)} less than was read of them"
    else:
        change = f"{size(-removed)} more than was read of them"
    parts.append(
        element("p", f"{size(funnel.bytes_kept)} of text were written, {change}.", class_="note")
    )
    changes = [change for change in funnel.changes if change.amount]
    if changes:
        parts.append(element("h3", "Changes made to the text"))
        rows_of_changes = [
            (element("code", change.rule), f"{change.documents:,}", f"{change.amount:,}")
            for change in sorted(changes, key=lambda change: (-change.documents, change.rule))
        ]
        parts.append(table(("rule", "documents", "characters or finds"), rows_of_changes))
    with_examples = [row for row in dropped if row.examples]
    if with_examples:
        parts.append(element("h3", "Examples of what was dropped"))
        parts += [
            details(
                [element("code", row.reason), f" · {row.documents:,}"],
                [_example_parts(example) for example in row.examples],
            )
            for row in with_examples
        ]
    return parts


def _example_parts(example: Example) -> list[Child]:
    text = element("pre", _cut(example.text, _EXAMPLE_LETTERS), dir="auto")
    if example.measured is None:
        return [text]
    value, limit = example.measured
    return [element("p", f"measured {value:.4g}, the limit is {limit:.4g}", class_="note"), text]


def _share(n_documents: int, n_bytes: int, funnel: Funnel) -> str:
    share = percent(n_documents, funnel.documents)
    return f"{n_documents:,} ({share}) · {size(n_bytes)}"


def _tokenizer_parts(figures: TokenizerFigures) -> list[Child]:
    facts = {"vocabulary": f"{figures.vocab_size:,} tokens", "pattern": figures.pattern}
    measured = figures.held_out or figures.total
    if measured is not None:
        place = "the held-out text" if figures.held_out else "the text"
        facts |= {
            "bytes per token": f"{measured.bytes_per_token:.3f} on {place} "
            f"({measured.bytes:,} bytes in {measured.tokens:,} tokens)",
            "tokens per word": f"{measured.tokens_per_word:.3f}; "
            f"{percent(measured.whole_words, measured.words)} of the words are one token",
            "never used": f"{len(figures.unused):,} tokens do not occur in {place}",
        }
    parts: list[Child] = [_facts(facts)]
    if figures.total is not None:
        rows = sorted(figures.files, key=lambda row: -row.bytes)[:_FILES]
        lines = [_text_row(row.file, row) for row in rows]
        if len(figures.files) > _FILES:
            lines.append([f"… {len(figures.files) - _FILES:,} more files", *[""] * 5])
        lines.append(_text_row("all documents", figures.total))
        if figures.held_out is not None:
            lines.append(_text_row("held out", figures.held_out))
        head = ["text", "size", "tokens", "bytes per token", "tokens per word", "one-token words"]
        parts += [element("h3", "What it makes of the text"), table(head, lines, text_columns=(0,))]
    if figures.unused:
        examples = [[element("code", _visible(token)), " "] for token in figures.unused[:_UNUSED]]
        parts += [
            element("h3", "Tokens that are never used"),
            details(
                f"the first {len(examples)} of {len(figures.unused):,}",
                element("p", examples, class_="tokens"),
            ),
        ]
    if figures.sample:
        shown = figures.sample[:_SAMPLE_TOKENS]
        parts.append(element("h3", "A text in its pieces"))
        parts.append(
            element(
                "pre",
                [
                    element(
                        "span",
                        _token_text(token),
                        class_=f"t{k % 5}",
                        title=f"{identity}: {token!r}",
                    )
                    for k, (identity, token) in enumerate(shown)
                ],
                class_="pieces",
            )
        )
    if figures.longest:
        parts.append(element("h3", "The longest tokens, runs of one character aside"))
        parts.append(
            element(
                "p",
                [[element("code", _visible(token)), " "] for token in figures.longest],
                class_="tokens",
            )
        )
    return parts


def _text_row(name: str, figures: TextFigures) -> list[Child]:
    return [
        name,
        size(figures.bytes),
        f"{figures.tokens:,}",
        f"{figures.bytes_per_token:.3f}",
        f"{figures.tokens_per_word:.3f}",
        percent(figures.whole_words, figures.words),
    ]


def _token_text(token: bytes) -> str:
    """Return a token as it is set in running text: line ends break, bytes of a part are shown."""
    return _decoded(token).replace("\n", "⏎\n")


def _visible(token: bytes) -> str:
    """Return a token with its white space made visible and long runs as a count."""
    text = _decoded(token).replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥")
    return _RUN.sub(lambda run: f"{run[1]}*{len(run[0])}", text)


def _decoded(token: bytes) -> str:
    try:
        return token.decode("utf-8")
    except UnicodeDecodeError:
        return "".join(chr(b) if 32 <= b < 127 else f"⟨{b:02x}⟩" for b in token)


def _sample_parts(samples: Sequence[Sample]) -> list[Child]:
    if not samples:
        return [element("p", "No samples were drawn.", class_="note")]
    return [
        [
            element("p", sample.note, class_="note") if sample.note else None,
            element(
                "pre",
                element("b", _cut(sample.prompt, _SAMPLE_LETTERS)),
                _cut(sample.text, _SAMPLE_LETTERS),
                dir="auto",
            ),
        ]
        for sample in samples
    ]


def _command_parts(commands: Sequence[Command]) -> list[Child]:
    if not commands:
        return [element("p", "No commands were recorded.", class_="note")]
    return [
        element(
            "ol",
            [element("li", command.purpose, element("pre", command.line)) for command in commands],
        )
    ]


def _or_infinity(value: float | None) -> float:
    return value if value is not None and not math.isnan(value) else math.inf


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[:letters] + " …"
