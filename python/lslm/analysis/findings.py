"""What an analysis found, in plain values: what its page and its files show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  (from_dict reads the fields' types)
from typing import TYPE_CHECKING

from lslm.results import Result

if TYPE_CHECKING:
    from lslm.analysis.passages import Alternatives, Passage

__all__ = [
    "Analysis",
    "CalibrationBin",
    "CurvePoint",
    "LossCurve",
    "Shown",
    "SliceRow",
    "TokenRow",
    "WorstToken",
]


@dataclass(frozen=True, kw_only=True)
class SliceRow:
    """One slice of one dimension."""

    dimension: str
    name: str
    n_tokens: int
    nats: float
    n_documents: int
    loss: float
    """Mean nats per token."""
    loss_error: float | None
    """Its standard error, clustered by document; None with fewer than two documents."""
    entropy: float
    """Mean of the loss that the model expected."""
    share: float
    """Of all nats."""
    excess: float
    """Nats above what these tokens would cost at the mean of all others; 0 if they cost less."""
    difference: float | None = None
    """Mean nats per token of the other model, less these; None without one."""
    difference_error: float | None = None
    """Its standard error: of pairs, clustered by document."""


@dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """Tokens between two values of what the model expected."""

    low: float
    high: float
    n_tokens: int
    expected: float
    observed: float
    error: float | None
    """Standard error of ``observed``, clustered by document; None with fewer than two."""


@dataclass(frozen=True, kw_only=True)
class WorstToken:
    """One token that cost much, with the text around it."""

    row: int
    document: int
    nats: float
    token: str
    before: str
    after: str
    best: str
    """The model's first choice; empty: not looked up."""


@dataclass(frozen=True, kw_only=True)
class TokenRow:
    """All occurrences of one id."""

    id: int
    token: str
    n_tokens: int
    nats: float
    loss: float
    predicted: int
    """How often it was the model's first choice in the passages shown; there it occurs ``shown``
    times."""
    shown: int


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """The loss at one checkpoint."""

    step: int
    loss: float
    """Mean nats per token."""
    loss_error: float | None
    """Its standard error, clustered by document."""


@dataclass(frozen=True, kw_only=True)
class LossCurve:
    """Loss over training: of one id, or of all tokens."""

    id: int | None
    """None: all tokens."""
    token: str
    n_tokens: int
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True)
class Shown:
    """A passage with its scores and alternatives; of the other model too, if there is one."""

    passage: Passage
    ids: list[int]
    nats: list[float]
    alternatives: Alternatives
    other_nats: list[float] | None = None
    other_alternatives: Alternatives | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Analysis(Result):
    """What :func:`lslm.analyze` found."""

    output: Path
    """The folder: ``report.html``, its rows as JSONL and Parquet, and ``scores``."""
    run: str
    other: str
    """The run that is compared; empty: none."""
    n_tokens: int
    n_documents: int
    loss: float
    loss_error: float | None
    entropy: float
    bits_per_byte: float
    other_loss: float | None
    difference_error: float | None
    """Standard error of ``other_loss`` − ``loss``, of pairs and clustered by document."""
    slices: tuple[SliceRow, ...]
    """In each dimension those first where most is to win."""
    expected_loss_error: float
    """Mean |loss − entropy| over bins of entropy: how wrong the model's own expectation is."""
    entropy_bins: tuple[CalibrationBin, ...]
    probability_bins: tuple[CalibrationBin, ...]
    """Of the first choice: its probability, and how often it was right; of all tokens."""
    probability_error: float
    """Expected calibration error of the first choice."""
    top_tokens: tuple[TokenRow, ...]
    """Ids with the most nats in all."""
    repeated: tuple[TokenRow, ...]
    """Ids that are the first choice more often than they occur, in the passages shown."""
    worst: tuple[WorstToken, ...]
    curves: tuple[LossCurve, ...]
    """Loss over training: of all tokens, then of chosen ids; empty without checkpoints."""
    protocol: str
    dtype: str
    rerun_difference: float
    """Largest difference of nats between the table and the passages, which were run again."""

    def summary(self) -> dict[str, str]:
        """Return the loss and the slice of each dimension where most is to win."""
        error = "" if self.loss_error is None else f" ± {self.loss_error:.4f}"
        shown = {"loss": f"{self.loss:.4f}{error} nats per token", "tokens": f"{self.n_tokens:,}"}
        if self.other_loss is not None:
            half = "" if self.difference_error is None else f" ± {self.difference_error:.4f}"
            shown[f"{self.other} less this"] = f"{self.other_loss - self.loss:+.4f}{half}"
        first: dict[str, SliceRow] = {}
        for row in self.slices:
            if row.n_tokens and row.excess > 0:
                first.setdefault(row.dimension, row)
        for dimension, row in first.items():
            shown[dimension] = f"{row.name}: {row.share:.0%} of the loss, {row.loss:.2f} per token"
        return shown | {"report": str(self.output / "report.html")}
