"""What goes into a report: plain values, so that whoever has measured them can fill them in.

Sizes are in bytes, times in seconds, losses in nats per token, MB = 10^6 bytes.
"""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lslm.exceptions import FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lslm import Tokenizer, results
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
    "read_metrics",
]


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """What the same held-out text costs without a model of its context.

    ``uniform``: each token of the vocabulary equally likely. ``unigram``: each token as likely as
    it was frequent in the training part. ``xz_bits_per_byte``: the held-out text after ``xz -9``.
    The last two may be None when not measured.
    """

    uniform: EvaluationResult
    unigram: EvaluationResult | None = None
    xz_bits_per_byte: float | None = None


@dataclass(frozen=True, kw_only=True)
class Example:
    """How a dropped document begins; ``measured`` is what was measured of it, and the limit."""

    text: str
    measured: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class FunnelRow:
    """One reason for which documents were dropped; bytes as they were read."""

    reason: str
    documents: int
    bytes: int
    examples: Sequence[Example] = ()


@dataclass(frozen=True, kw_only=True)
class Change:
    """What one rule changed: in how many documents, and how many characters or finds."""

    rule: str
    documents: int
    amount: int


@dataclass(frozen=True, kw_only=True)
class Funnel:
    """What went into cleaning, what came out, and why the rest did not.

    ``bytes`` counts the documents as they were read, ``bytes_kept`` the kept ones as written.
    """

    documents: int
    bytes: int
    documents_kept: int
    bytes_kept: int
    dropped: Sequence[FunnelRow] = ()
    changes: Sequence[Change] = ()

    @classmethod
    def of(cls, counts: results.Funnel) -> Funnel:
        """Return the funnel of a :class:`lslm.CleanResult`."""
        dropped = [
            FunnelRow(
                reason=reason,
                documents=row.n_documents,
                bytes=row.n_bytes,
                examples=[
                    Example(
                        text=example.text,
                        measured=None
                        if example.value is None or example.limit is None
                        else (example.value, example.limit),
                    )
                    for example in row.examples
                ],
            )
            for reason, row in counts.dropped.items()
        ]
        changes = [
            Change(rule=rule, documents=change.n_documents, amount=change.n_changes)
            for rule, change in counts.changes.items()
        ]
        return cls(
            documents=counts.n_documents,
            bytes=counts.n_bytes,
            documents_kept=counts.n_documents_kept,
            bytes_kept=counts.n_bytes_kept,
            dropped=dropped,
            changes=changes,
        )

    @property
    def bytes_dropped(self) -> int:
        """Bytes of all dropped documents, as they were read."""
        return sum(row.bytes for row in self.dropped)


@dataclass(frozen=True, kw_only=True)
class StageFigure:
    """One step of the way: what it did, how much of what, how long, and where the result lies.

    ``amount`` of ``unit`` went through in ``seconds``; unit "bytes" is shown as MB/s.
    """

    name: str
    seconds: float
    amount: float = 0
    unit: str = "bytes"
    output: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class TextFigures:
    """What a vocabulary makes of some documents; ``whole_words`` are the words of one token."""

    documents: int
    bytes: int
    words: int
    whole_words: int
    tokens: int
    file: str = ""

    @classmethod
    def of(cls, row: results.TextStatistics) -> TextFigures:
        """Return the figures in a row of :func:`lslm.measure_tokenizer`."""
        return cls(
            documents=row.n_documents,
            bytes=row.n_bytes,
            words=row.n_words,
            whole_words=row.n_whole_words,
            tokens=row.n_tokens,
            file=row.file or "",
        )

    @property
    def bytes_per_token(self) -> float:
        """Bytes of text per token, NaN without tokens."""
        return self.bytes / self.tokens if self.tokens else math.nan

    @property
    def tokens_per_word(self) -> float:
        """Tokens per word ("fertility"), NaN without words."""
        return self.tokens / self.words if self.words else math.nan


@dataclass(frozen=True, kw_only=True)
class TokenizerFigures:
    """What is worth knowing of a vocabulary.

    ``total`` is what it makes of all documents, ``files`` of each file, ``held_out`` of the
    documents it was not learned from, if there are any; ``unused`` are the tokens that never occur
    in those, or without them in all.
    """

    vocab_size: int
    pattern: str
    total: TextFigures | None = None
    held_out: TextFigures | None = None
    files: Sequence[TextFigures] = ()
    unused: Sequence[bytes] = ()
    longest: Sequence[bytes] = ()
    sample: Sequence[tuple[int, bytes]] = ()

    @classmethod
    def of(
        cls,
        tokenizer: Tokenizer,
        *,
        measured: results.TokenizerReport | None = None,
        sample: str = "",
        n_longest: int = 40,
    ) -> TokenizerFigures:
        """Return the figures of ``tokenizer``; ``sample`` is the text shown in coloured pieces.

        ``measured`` is what :func:`lslm.measure_tokenizer` found. Among the longest tokens, runs of
        one byte are left out: rows of spaces say little.
        """
        special = set(tokenizer.special_tokens.values())
        every = []
        for i in range(tokenizer.vocab_size):
            with contextlib.suppress(KeyError):  # an id that no token has
                token = tokenizer.token_bytes(i)
                if i not in special and len(set(token)) > 1:
                    every.append(token)
        longest = sorted(every, key=lambda token: (-len(token), token))[:n_longest]
        ids = [int(i) for i in tokenizer.encode(sample)]
        texts: dict[str, Any] = {}
        if measured is not None:
            texts = {
                "total": TextFigures.of(measured.total),
                "held_out": measured.validation and TextFigures.of(measured.validation),
                "files": [TextFigures.of(row) for row in measured.files],
                "unused": [tokenizer.token_bytes(i) for i in measured.unused],
            }
        return cls(
            vocab_size=tokenizer.vocab_size,
            pattern=tokenizer.pattern,
            longest=longest,
            sample=[(i, tokenizer.token_bytes(i)) for i in ids],
            **texts,
        )


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """One row of ``metrics.jsonl``; what a row does not hold is None."""

    step: int
    n_tokens: int | None = None
    loss: float | None = None
    validation_loss: float | None = None
    learning_rate: float | None = None
    tokens_per_second: float | None = None


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What the model wrote after ``prompt``; ``note`` says how it was sampled."""

    prompt: str
    text: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command line that does one step, and what it does."""

    purpose: str
    line: str


@dataclass(frozen=True, kw_only=True)
class DemoResults:
    """All that ``lslm demo`` has found out, in the order of the page.

    ``model`` and ``facts`` are rows of two columns: the shape of the model, and the machine,
    versions, seed and whatever else a reader needs to do it again.
    """

    corpus: str
    folder: str
    funnel: Funnel
    stages: Sequence[StageFigure]
    tokenizer: TokenizerFigures
    metrics: Sequence[MetricRow]
    evaluation: EvaluationResult
    baselines: Baselines
    samples: Sequence[Sample] = ()
    commands: Sequence[Command] = ()
    model: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)


def read_metrics(path: str | Path) -> list[MetricRow]:
    """Return the rows of a ``metrics.jsonl``, one for each step, in order.

    Rows of one step, such as of training and of validation, become one. A last line without its
    line end is one that was being written and is left out; any other line that is no JSON object
    with a step raises ``FormatError`` with its line number.
    """
    text = Path(path).read_bytes()
    rows: dict[int, dict[str, Any]] = {}
    offset = 0
    for number, line in enumerate(text.split(b"\n")[:-1], start=1):
        try:
            row = json.loads(line)
            rows.setdefault(_metric_row(row).step, {}).update(row)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise FormatError(
                f"{path}: line {number} is not a row of metrics ({error}); "
                "remove the line or train again",
                str(path),
                offset,
            ) from None
        offset += len(line) + 1
    return [_metric_row(row) for _, row in sorted(rows.items())]


def _metric_row(row: Mapping[str, Any]) -> MetricRow:
    def number(name: str) -> float | None:
        return None if row.get(name) is None else float(row[name])

    tokens = number("tokens")
    return MetricRow(
        step=int(row["step"]),
        n_tokens=None if tokens is None else int(tokens),
        loss=number("loss"),
        validation_loss=number("validation_loss"),
        learning_rate=number("lr"),
        tokens_per_second=number("tokens_per_second"),
    )
