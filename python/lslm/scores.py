"""How well a model predicts text, in figures: loss, perplexity and bits per byte.

The sums are computed by :mod:`lslm.evaluation`; this module needs no torch, so that reports do not.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass

__all__ = ["EvaluationResult", "bits_per_byte", "perplexity"]


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


@dataclass(frozen=True, kw_only=True, repr=False)
class EvaluationResult:
    """The totals of an evaluation, and the ratios that follow from them."""

    nats: float
    """−Σ log p over all targets."""
    n_tokens: int
    """Number of targets."""
    n_bytes: int
    """Bytes of their text in UTF-8; special tokens have none."""

    @property
    def loss(self) -> float:
        """Mean nats per token; NaN without tokens."""
        return self.nats / self.n_tokens if self.n_tokens else math.nan

    @property
    def perplexity(self) -> float:
        """See :func:`perplexity`; depends on the vocabulary."""
        return perplexity(self.nats, self.n_tokens)

    @property
    def bits_per_byte(self) -> float:
        """See :func:`bits_per_byte`; does not depend on the vocabulary."""
        return bits_per_byte(self.nats, self.n_bytes)

    def as_dict(self) -> dict[str, float | int]:
        """Return totals and ratios by name."""
        ratios = ("loss", "perplexity", "bits_per_byte")
        return vars(self) | {name: getattr(self, name) for name in ratios}

    def __repr__(self) -> str:
        return (
            f"EvaluationResult(bits_per_byte={self.bits_per_byte:.4f}, "
            f"perplexity={self.perplexity:.2f}, loss={self.loss:.4f}, "
            f"n_tokens={self.n_tokens}, n_bytes={self.n_bytes})"
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{html.escape(name.replace('_', ' '))}</th><td>{value:,.6g}</td></tr>"
            for name, value in self.as_dict().items()
        )
        return f"<table>{rows}</table>"
