"""How well a model predicts text, in figures: loss, perplexity and bits per byte.

The sums are computed by :mod:`lslm.evaluation`; this module needs no torch, so that reports do not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lslm.results import Result, finite

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
class EvaluationResult(Result):
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

    def as_dict(self) -> dict[str, Any]:
        """Return totals and ratios by name, for ``json.dumps``; None for what is not finite."""
        ratios = ("loss", "perplexity", "bits_per_byte")
        return super().as_dict() | {name: finite(getattr(self, name)) for name in ratios}

    def summary(self) -> dict[str, str]:
        """Return the ratios, and the number of tokens."""
        return {
            "bits per byte": f"{self.bits_per_byte:.4f}",
            "perplexity": f"{self.perplexity:,.2f}",
            "loss": f"{self.loss:.4f} nats per token",
            "tokens": f"{self.n_tokens:,}",
        }
