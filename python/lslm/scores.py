"""How well a model predicts text, in figures: loss, perplexity and bits per byte.

:mod:`lslm.evaluation` runs the model; this module needs no torch, so that reports do not.

**Standard errors are clustered by document.** Tokens of one document are not independent, so the
usual error of a mean over tokens is several times too small. With nats x_d and tokens n_d of
document d, and the loss r = Σ x_d / Σ n_d, the error is that of a ratio of sums over D documents:

    SE(r) = √( D / (D − 1) · Σ (x_d − r n_d)² ) / Σ n_d
"""

from __future__ import annotations

import math
from collections.abc import Mapping  # noqa: TC003  (Result reads the types of its fields)
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from lslm.results import Result, finite

if TYPE_CHECKING:
    from lslm.protocol import Protocol

__all__ = [
    "DocumentScores",
    "EvaluationResult",
    "Scores",
    "bits_per_byte",
    "perplexity",
]

MAX_SOURCES = 100
"""Sources with a figure of their own in a result: the largest; the others are one together."""


def perplexity(nats: float, n_tokens: int) -> float:
    """Return P = exp(−(1/N) Σ log p(x_i | x_<i)): ``nats`` is −Σ log p, ``n_tokens`` is N.

    A model that gives each of V tokens the same probability has perplexity V. NaN without tokens,
    infinity beyond the largest float, which is at about 709.8 nats per token.
    """
    try:
        return math.exp(nats / n_tokens) if n_tokens else math.nan
    except OverflowError:
        return math.inf


def bits_per_byte(nats: float, n_bytes: int) -> float:
    """Return −Σ log₂ p per byte of text, which models of different vocabularies can be compared by.

    NaN without bytes.
    """
    return nats / math.log(2) / n_bytes if n_bytes else math.nan


@dataclass(frozen=True, kw_only=True)
class DocumentScores:
    """The sums of one document: a row of the score table and of ``--per-document``."""

    dataset: str
    """Name of the dataset or text that it is from."""
    index: int
    """Its number there, from 0."""
    source: str
    """The file that it is from; empty if that is not known."""
    id: str | None
    """Its name in that file."""
    n_tokens: int
    """Targets."""
    n_bytes: int
    """Bytes of the text of the targets, before the tokenizer's normaliser."""
    n_chars: int
    """Characters of it."""
    n_words: int
    """Words of it, as the protocol counts them."""
    nats: float
    """−Σ log p over the targets."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, the loss and the bits per byte by name, for ``json.dumps``."""
        loss = self.nats / self.n_tokens if self.n_tokens else math.nan
        ratios = {"loss": loss, "bits_per_byte": bits_per_byte(self.nats, self.n_bytes)}
        return vars(self) | {name: finite(value) for name, value in ratios.items()}


@dataclass(frozen=True, kw_only=True, repr=False)
class Scores(Result):
    """Sums over documents, and the ratios that follow from them."""

    nats: float
    """−Σ log p over all targets."""
    n_tokens: int
    """Number of targets."""
    n_bytes: int
    """Bytes of their text in UTF-8; special tokens have none."""
    n_chars: int = 0
    """Characters of their text; 0: not counted."""
    n_words: int = 0
    """Words of their text; 0: not counted."""
    n_documents: int = 0
    """Documents with a target."""
    loss_error: float | None = None
    """Standard error of the loss, clustered by document; None with fewer than two."""
    bits_per_byte_error: float | None = None
    """Standard error of the bits per byte, clustered by document."""

    @property
    def loss(self) -> float:
        """Mean nats per token; NaN without tokens."""
        return self.nats / self.n_tokens if self.n_tokens else math.nan

    @property
    def perplexity(self) -> float:
        """See :func:`perplexity`; depends on the vocabulary."""
        return perplexity(self.nats, self.n_tokens)

    @property
    def perplexity_error(self) -> float | None:
        """Standard error of the perplexity, clustered by document: loss_error × perplexity."""
        return None if self.loss_error is None else self.loss_error * self.perplexity

    @property
    def word_perplexity(self) -> float:
        """Perplexity per word of the text; does not depend on the vocabulary."""
        return perplexity(self.nats, self.n_words)

    @property
    def char_perplexity(self) -> float:
        """Perplexity per character of the text."""
        return perplexity(self.nats, self.n_chars)

    @property
    def byte_perplexity(self) -> float:
        """Perplexity per byte of the text: 2 to the power of bits per byte."""
        return perplexity(self.nats, self.n_bytes)

    @property
    def bits_per_byte(self) -> float:
        """See :func:`bits_per_byte`; does not depend on the vocabulary."""
        return bits_per_byte(self.nats, self.n_bytes)

    def as_dict(self) -> dict[str, Any]:
        """Return totals and ratios by name, for ``json.dumps``; None for what is not finite."""
        names = ("loss", "perplexity", "perplexity_error", "word_perplexity", "char_perplexity")
        ratios = (*names, "byte_perplexity", "bits_per_byte")
        return super().as_dict() | {name: finite(getattr(self, name)) for name in ratios}


@dataclass(frozen=True, kw_only=True, repr=False)
class EvaluationResult(Scores):
    """The scores of a model on text, with all that decides them."""

    by_source: Mapping[str, Scores] = field(default_factory=dict)
    """The same by source: each file, or dataset and file where several datasets were scored. Of
    more than MAX_SOURCES, the smallest are one together."""
    by_dataset: Mapping[str, Scores] = field(default_factory=dict)
    """The same by dataset, where several were scored."""
    n_unscored: int = 0
    """Tokens of these documents that the protocol does not score."""
    sample: Mapping[str, int | None] | None = None
    """``n_tokens`` asked for and ``seed`` of a sample of documents; None: all were scored."""
    protocol: Mapping[str, Any] = field(default_factory=dict)
    """The fields of :class:`lslm.protocol.Protocol`, and its fingerprint."""
    dtype: str = ""
    """Number type of the forward pass."""
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """Identities of model, tokenizer and datasets, hexadecimal."""
    notes: tuple[str, ...] = ()
    """What a reader must know besides, one sentence each."""

    def summary(self) -> dict[str, str]:
        """Return the ratios with their standard errors, the counts and the protocol."""
        shown = {
            "bits per byte": f"{self.bits_per_byte:.4f}{_error(self.bits_per_byte_error)}",
            "perplexity": f"{self.perplexity:,.2f}{_error(self.perplexity_error, 2)}",
            "loss": f"{self.loss:.4f}{_error(self.loss_error)} nats per token",
        }
        if self.n_words and self.n_chars:
            shown["word perplexity"] = f"{self.word_perplexity:,.2f}"
            shown["character perplexity"] = f"{self.char_perplexity:,.4f}"
        shown["byte perplexity"] = f"{self.byte_perplexity:,.4f}"
        shown["tokens"] = f"{self.n_tokens:,}"
        shown["bytes of text"] = f"{self.n_bytes:,}"
        if self.n_words and self.n_chars:
            shown["words, characters"] = f"{self.n_words:,}, {self.n_chars:,}"
        if self.n_documents:
            shown["documents"] = f"{self.n_documents:,}"
        if self.sample is not None:
            shown["sample"] = f"of about {self.sample['n_tokens']:,} tokens, by source"
        if self.n_unscored:
            shown["not scored"] = f"{self.n_unscored:,} tokens"
        if self.protocol:
            window, stride = self.protocol["window"], self.protocol["stride"]
            name = self.protocol["name"]
            shown["protocol"] = f"{name}: context {window:,}, stride {stride:,}, {self.dtype}"
        return shown

    def protocol_of(self) -> Protocol | None:
        """Return the protocol as an object, or None if it is not recorded."""
        from lslm.protocol import Protocol

        return Protocol.from_dict(dict(self.protocol)) if self.protocol else None


def _error(error: float | None, digits: int = 4) -> str:
    """Return a standard error as text after its figure."""
    return "" if error is None or not math.isfinite(error) else f" ± {error:,.{digits}f}"


class Sums:
    """Running sums over documents, for a :class:`Scores` and its errors; constant memory."""

    def __init__(self) -> None:
        self.nats, self.n_tokens, self.n_bytes = 0.0, 0, 0
        self.n_chars, self.n_words, self.n_documents = 0, 0, 0
        self._squares = dict.fromkeys(("xx", "xt", "tt", "xb", "bb"), 0.0)

    def add(self, document: DocumentScores) -> Self:
        """Add one document."""
        x, t, b = document.nats, document.n_tokens, document.n_bytes
        self.nats += x
        self.n_tokens += t
        self.n_bytes += b
        self.n_chars += document.n_chars
        self.n_words += document.n_words
        self.n_documents += 1
        products = {"xx": x * x, "xt": x * t, "tt": t * t, "xb": x * b, "bb": b * b}
        for name, value in products.items():
            self._squares[name] += value
        return self

    def merge(self, other: Sums) -> Self:
        """Add the documents of ``other``."""
        for name in ("nats", "n_tokens", "n_bytes", "n_chars", "n_words", "n_documents"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name, value in other._squares.items():
            self._squares[name] += value
        return self

    def values(self) -> dict[str, Any]:
        """Return the fields of a :class:`Scores`."""
        names = ("nats", "n_tokens", "n_bytes", "n_chars", "n_words", "n_documents")
        bits = self._error("xb", "bb", self.n_bytes)
        return {name: getattr(self, name) for name in names} | {
            "loss_error": self._error("xt", "tt", self.n_tokens),
            "bits_per_byte_error": None if bits is None else bits / math.log(2),
        }

    def _error(self, cross: str, square: str, total: int) -> float | None:
        """Return the standard error of nats / total, the ratio of two sums over documents."""
        if self.n_documents < 2 or not total:
            return None
        ratio, s = self.nats / total, self._squares
        # Σ (x − r t)², expanded; rounding may leave a little less than 0
        squared = max(0.0, s["xx"] - 2 * ratio * s[cross] + ratio * ratio * s[square])
        return math.sqrt(squared * self.n_documents / (self.n_documents - 1)) / total


class Totals:
    """Sums of all documents, by dataset and by source; memory grows with the number of sources."""

    def __init__(self) -> None:
        self.all = Sums()
        self._by: dict[tuple[str, str], Sums] = {}

    def add(self, document: DocumentScores) -> None:
        """Add one document."""
        self.all.add(document)
        self._by.setdefault((document.dataset, document.source), Sums()).add(document)

    def result(self, **facts: Any) -> EvaluationResult:
        """Return the result, with ``facts`` as further fields."""
        datasets: dict[str, Sums] = {}
        for (dataset, _), sums in self._by.items():
            datasets.setdefault(dataset, Sums()).merge(sums)
        several = len(datasets) > 1
        named = {
            f"{dataset}: {source}" if several else source: sums
            for (dataset, source), sums in sorted(self._by.items(), key=lambda item: item[0])
            if source
        }
        return EvaluationResult(
            **self.all.values(),
            by_source=_largest(named),
            by_dataset={n: Scores(**s.values()) for n, s in datasets.items()} if several else {},
            **facts,
        )


def _largest(sums: dict[str, Sums]) -> dict[str, Scores]:
    """Return the scores by name; the smallest of more than MAX_SOURCES together."""
    order = sorted(sums, key=lambda name: -sums[name].n_tokens)
    shown, rest = set(order[:MAX_SOURCES]), order[MAX_SOURCES:]
    scores = {name: Scores(**s.values()) for name, s in sums.items() if name in shown}
    if rest:
        others = Sums()
        for name in rest:
            others.merge(sums[name])
        scores[f"{len(rest):,} other sources"] = Scores(**others.values())
    return scores
